-- Keys of the API. The secret itself is shown once and kept nowhere.
CREATE TABLE api_keys (
    id           text PRIMARY KEY CHECK (id ~ '^[0-9a-f]{16}$'),
    account_id   text NOT NULL CHECK (account_id ~ '^[a-z0-9][a-z0-9._-]{0,63}$'),
    secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes       text[] NOT NULL CHECK (scopes <@ ARRAY['trade', 'read', 'admin'] AND cardinality(scopes) > 0),
    label        text NOT NULL DEFAULT '',
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    revoked_at   timestamptz
);

-- What a browser shows instead of a key when it opens a stream: once, and within a minute.
CREATE TABLE stream_tokens (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    account_id text NOT NULL,
    key_id     text REFERENCES api_keys,
    expires_at timestamptz NOT NULL,
    used_by    uuid
);
CREATE INDEX stream_tokens_expire ON stream_tokens (expires_at);

-- What seals the frames that travel through Redis; see execution/adapters/seals.py.
CREATE TABLE frame_seals (
    id         integer PRIMARY KEY,
    secret     bytea NOT NULL CHECK (octet_length(secret) = 32),
    created_at timestamptz NOT NULL DEFAULT now()
);
