-- The state of one watch group. One connection writes; relays read with their own.
-- This is version 1.0; database.py adds what came later. Changes within a major version only add: the previous
-- release must run on them.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,             -- schema_major, schema_minor, source, epoch, last_sequence, subject
    value
) WITHOUT ROWID;

-- What the stream has said about every entry of the tree.
CREATE TABLE entries (
    dir   INTEGER NOT NULL,             -- number of the directory
    name  BLOB NOT NULL,
    type  INTEGER NOT NULL,             -- S_IFMT
    node  INTEGER NOT NULL,             -- number of the entry, if it is a directory; else 0
    inode INTEGER,                      -- as a signed number: 2^64 - 1 stands as -1
    stat  BLOB,                         -- see index.py; NULL: was gone before it could be looked at
    ready BLOB,                         -- fingerprint last published as ready
    PRIMARY KEY (dir, name)
) WITHOUT ROWID;

CREATE INDEX entries_by_inode ON entries (inode);

-- The journal: one row a committed batch, because a row a message costs six times as much.
CREATE TABLE batches (
    id        INTEGER PRIMARY KEY,
    epoch     TEXT NOT NULL,
    first     INTEGER NOT NULL,         -- sequence of the first message
    last      INTEGER NOT NULL,
    committed REAL NOT NULL,            -- Unix seconds
    lengths   BLOB NOT NULL,            -- of each record, 32 bits little-endian
    size      INTEGER NOT NULL,         -- bytes of all records
    records   BLOB NOT NULL             -- the records, one after the other
);

CREATE UNIQUE INDEX batches_by_position ON batches (epoch, last);

-- How far each sink has confirmed.
CREATE TABLE watermarks (
    sink     TEXT PRIMARY KEY,
    epoch    TEXT NOT NULL,
    sequence INTEGER NOT NULL
) WITHOUT ROWID;

-- Messages that a sink will never take, and what goes in their place.
CREATE TABLE parked (
    sink        TEXT NOT NULL,
    epoch       TEXT NOT NULL,
    sequence    INTEGER NOT NULL,
    time        REAL NOT NULL,          -- Unix seconds
    reason      TEXT NOT NULL,
    detail      TEXT NOT NULL,
    record      BLOB NOT NULL,          -- empty: an operator has dealt with it, its place in the journal stays
    replacement BLOB NOT NULL,
    PRIMARY KEY (sink, epoch, sequence)
);
