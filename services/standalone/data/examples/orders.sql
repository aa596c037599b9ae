-- The table that the example watches. A transaction may commit late: no row is missed for it.
CREATE SCHEMA IF NOT EXISTS shop;

CREATE TABLE IF NOT EXISTS shop.orders (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    region     text NOT NULL,
    amount     numeric(10, 2) NOT NULL,
    state      text NOT NULL DEFAULT 'new',
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE INDEX IF NOT EXISTS orders_updated_at ON shop.orders (updated_at, id);
