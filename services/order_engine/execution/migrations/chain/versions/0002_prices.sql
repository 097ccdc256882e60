-- The price board: while a pair has a row here, both simulated venues quote this price.

CREATE TABLE chain.prices (
    token_in   text NOT NULL CHECK (token_in <> ''),
    token_out  text NOT NULL CHECK (token_out <> '' AND token_out <> token_in),
    price      numeric NOT NULL CHECK (price >= 0.00000001 AND price < 'Infinity'),
    volume_60s numeric CHECK (volume_60s >= 0 AND volume_60s < 'Infinity'),
    set_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (token_in, token_out)
);
