-- Whose store a container is in: several servers can use one database. NULL: nobody's yet; it was put here by the
-- original, or by hand, and the next server that looks makes it.
ALTER TABLE containers ADD COLUMN store TEXT;
-- minirun's own id of it, which stays when it is renamed.
ALTER TABLE containers ADD COLUMN container_id TEXT;
ALTER TABLE containers ADD COLUMN exit_code SMALLINT;
ALTER TABLE containers ADD COLUMN started_at TIMESTAMP WITH TIME ZONE;
ALTER TABLE containers ADD COLUMN finished_at TIMESTAMP WITH TIME ZONE;
-- The whole record, as it is in the JSON store. Not JSONB, which cannot hold every text that JSON can.
ALTER TABLE containers ADD COLUMN record JSON;
-- Why a row that is nobody's could not be made into a container.
ALTER TABLE containers ADD COLUMN refused TEXT;

-- A name is unique in a store.
ALTER TABLE containers DROP CONSTRAINT IF EXISTS containers_name_key;
CREATE UNIQUE INDEX containers_store_name ON containers (store, name);
CREATE UNIQUE INDEX containers_unclaimed_name ON containers (name) WHERE store IS NULL;
CREATE INDEX IF NOT EXISTS idx_containers_status ON containers (status);
