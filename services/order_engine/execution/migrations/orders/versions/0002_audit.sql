-- the auditor looks at orders changed since its last pass
CREATE INDEX orders_changed ON orders (updated_at);
