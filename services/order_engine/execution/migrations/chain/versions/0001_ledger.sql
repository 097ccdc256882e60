-- The simulated chain: one ledger for both simulated venues, in a schema of its own and normally in a
-- database of its own. Two fills for one order are accepted, so that a double execution is seen here
-- and not hidden.

CREATE TABLE chain.transactions (
    signature      text PRIMARY KEY,
    order_id       uuid NOT NULL,
    venue          text NOT NULL,
    outcome        text NOT NULL CHECK (outcome IN ('filled', 'rejected', 'never_lands', 'expired')),
    reason         text,
    executed_price numeric,
    amount_out     numeric,
    lands_at       timestamptz,
    valid_until    timestamptz NOT NULL,
    sent_at        timestamptz NOT NULL DEFAULT now(),
    CHECK (outcome <> 'filled' OR (executed_price IS NOT NULL AND amount_out IS NOT NULL AND lands_at IS NOT NULL)),
    CHECK (outcome NOT IN ('filled', 'rejected') OR lands_at <= valid_until)
);
CREATE INDEX transactions_order ON chain.transactions (order_id);
