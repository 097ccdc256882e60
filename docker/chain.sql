-- The simulated chain has its own database and role; POSTGRES_DB creates the engine's.
CREATE ROLE chain LOGIN PASSWORD 'chain';
CREATE DATABASE chain OWNER chain;
