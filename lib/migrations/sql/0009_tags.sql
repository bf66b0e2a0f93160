-- Which tags are in use, found from one to the next without reading every customer. A trigger keeps it: nobody writes it.
CREATE TABLE customer_tags (
    tag TEXT NOT NULL,
    customer_id BIGINT NOT NULL,
    CONSTRAINT customer_tags_pkey PRIMARY KEY (tag, customer_id),
    CONSTRAINT customer_tags_customer_id_fkey FOREIGN KEY (customer_id) REFERENCES customers (id)
);
CREATE INDEX customer_tags_customer_id_idx ON customer_tags (customer_id);

CREATE FUNCTION customer_tagged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM customer_tags WHERE customer_id = NEW.id AND tag <> ALL (NEW.tags);
    INSERT INTO customer_tags (tag, customer_id) SELECT unnest(NEW.tags), NEW.id ON CONFLICT DO NOTHING;
    RETURN NULL;
END $$;
CREATE TRIGGER customers_tagged AFTER INSERT ON customers FOR EACH ROW
    WHEN (NEW.tags <> '{}') EXECUTE FUNCTION customer_tagged();
CREATE TRIGGER customers_tagged_anew AFTER UPDATE OF tags ON customers FOR EACH ROW
    WHEN (NEW.tags IS DISTINCT FROM OLD.tags) EXECUTE FUNCTION customer_tagged();

INSERT INTO customer_tags (tag, customer_id) SELECT DISTINCT unnest(tags), id FROM customers WHERE tags <> '{}';
