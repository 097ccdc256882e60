-- The engine's truth. The rules of the domain stand here a second time: a program with a fault must
-- not be able to write what the protocol forbids.

CREATE TABLE orders (
    id                 uuid PRIMARY KEY,
    account_id         text NOT NULL DEFAULT 'local',
    idempotency_key    text,
    request_hash       bytea,
    type               text NOT NULL DEFAULT 'market' CHECK (type IN ('market')),
    token_in           text NOT NULL CHECK (token_in <> ''),
    token_out          text NOT NULL CHECK (token_out <> '' AND token_out <> token_in),
    amount_in          numeric NOT NULL CHECK (amount_in > 0 AND amount_in < 'Infinity'),
    slippage_tolerance numeric NOT NULL CHECK (slippage_tolerance BETWEEN 0 AND 100),
    min_amount_out     numeric CHECK (min_amount_out >= 0 AND min_amount_out < 'Infinity'),
    status             text NOT NULL DEFAULT 'pending'
                       CHECK (status IN ('pending', 'routing', 'building', 'submitted', 'confirmed', 'failed')),
    seq                integer NOT NULL DEFAULT 1 CHECK (seq > 0),
    attempts           integer NOT NULL DEFAULT 0 CHECK (attempts >= 0),
    claims             integer NOT NULL DEFAULT 0 CHECK (claims >= 0),
    next_run_at        timestamptz NOT NULL DEFAULT now(),
    lease_owner        text,
    lease_epoch        bigint NOT NULL DEFAULT 0,
    lease_until        timestamptz,
    started_at         timestamptz,
    dex_type           text,
    executed_price     numeric CHECK (executed_price > 0),
    amount_out         numeric CHECK (amount_out >= 0),
    tx_hash            text,
    error_code         text,
    error_reason       text,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    UNIQUE (account_id, idempotency_key),
    CHECK ((status = 'confirmed') = (tx_hash IS NOT NULL)),
    CHECK ((status = 'failed') = (error_code IS NOT NULL))
) WITH (fillfactor = 70);

-- waiting, never started
CREATE INDEX orders_waiting ON orders (created_at)
    WHERE lease_epoch = 0 AND status NOT IN ('confirmed', 'failed');
-- started; lease_until itself is never indexed, so that renewing a lease stays a heap-only update
CREATE INDEX orders_started ON orders (next_run_at)
    WHERE lease_epoch > 0 AND status NOT IN ('confirmed', 'failed');
CREATE INDEX orders_started_at ON orders (started_at);
CREATE INDEX orders_newest ON orders (account_id, created_at DESC, id DESC);

CREATE TABLE order_events (
    order_id    uuid NOT NULL REFERENCES orders,
    seq         integer NOT NULL CHECK (seq > 0),
    status      text NOT NULL
                CHECK (status IN ('pending', 'routing', 'building', 'submitted', 'confirmed', 'failed')),
    attempt     integer NOT NULL DEFAULT 0,
    cause       text NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}',
    occurred_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, seq),
    UNIQUE (order_id, cause)
);

-- transient venue failures: no event, no seq, no frame
CREATE TABLE order_attempts (
    order_id   uuid NOT NULL REFERENCES orders,
    n          integer NOT NULL,
    step       text NOT NULL,
    venue      text,
    error_code text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (order_id, n)
);

CREATE TABLE execution_intents (
    order_id    uuid NOT NULL REFERENCES orders,
    n           integer NOT NULL CHECK (n > 0),
    epoch       bigint NOT NULL,
    venue       text NOT NULL,
    signature   text NOT NULL UNIQUE,
    transaction bytea NOT NULL,
    quote       jsonb NOT NULL,
    valid_until timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'live' CHECK (state IN ('live', 'landed', 'dead')),
    PRIMARY KEY (order_id, n)
);
-- the database itself forbids a second transaction that could land
CREATE UNIQUE INDEX execution_intents_one_that_counts ON execution_intents (order_id)
    WHERE state IN ('live', 'landed');
