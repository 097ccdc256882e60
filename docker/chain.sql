-- The simulated chain has a database and a role of its own; POSTGRES_DB makes the engine's.
CREATE ROLE chain LOGIN PASSWORD 'chain';
CREATE DATABASE chain OWNER chain;
