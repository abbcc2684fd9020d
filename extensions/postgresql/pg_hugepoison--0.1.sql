\echo Use "CREATE EXTENSION pg_hugepoison" to load this file. \quit

CREATE FUNCTION pg_hugepoison_events(OUT at timestamptz, OUT address text, OUT structure text,
    OUT tablespace oid, OUT database oid, OUT relfilenode oid, OUT fork text, OUT block bigint,
    OUT action text, OUT repaired boolean, OUT waited integer, OUT ms double precision)
RETURNS SETOF record AS 'MODULE_PATHNAME' LANGUAGE C STRICT VOLATILE;

-- A relation has its name in its own database only.
CREATE VIEW pg_hugepoison AS
SELECT e.at, e.address, e.structure, d.datname AS database,
    CASE WHEN e.database IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
         THEN pg_filenode_relation(e.tablespace, e.relfilenode) END AS relation,
    e.relfilenode, e.fork, e.block, e.action, e.repaired, e.waited, e.ms
FROM pg_hugepoison_events() e LEFT JOIN pg_database d ON d.oid = e.database;

REVOKE ALL ON FUNCTION pg_hugepoison_events() FROM PUBLIC;
REVOKE ALL ON pg_hugepoison FROM PUBLIC;
GRANT EXECUTE ON FUNCTION pg_hugepoison_events() TO pg_monitor;
GRANT SELECT ON pg_hugepoison TO pg_monitor;
