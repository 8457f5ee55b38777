-- Sessions of browsers, made anew with what people are shown of them. There was no way to begin one.
DROP TABLE login;
CREATE TABLE login (
    token_hash        BLOB PRIMARY KEY,        -- SHA-256
    login_id          TEXT NOT NULL,
    user_id           TEXT NOT NULL,
    created_unix_nano INTEGER NOT NULL,
    expires_unix_nano INTEGER NOT NULL,
    seen_unix_nano    INTEGER NOT NULL,        -- to the minute
    address           TEXT NOT NULL,           -- where it was begun
    user_agent        TEXT NOT NULL,
    key_id            TEXT,                    -- the key it was begun with, and is good as long as
    project_id        INTEGER,                 -- the only one it is good for; NULL: all of the person's
    scopes            INTEGER NOT NULL         -- the most it allows: 1 ingest, 2 read, 4 admin
) STRICT, WITHOUT ROWID;
CREATE INDEX login_user ON login (user_id, created_unix_nano);
CREATE INDEX login_expires ON login (expires_unix_nano);

-- What this store's daemons sign with.
CREATE TABLE secret (
    name  TEXT PRIMARY KEY,
    value BLOB NOT NULL
) STRICT, WITHOUT ROWID;
