-- Who may use which project. Secrets are stored as hashes only.

-- Number of the latest change; every change adds one.
CREATE TABLE access_state (
    one        INTEGER PRIMARY KEY CHECK (one = 1),
    generation INTEGER NOT NULL
) STRICT;
INSERT INTO access_state VALUES (1, 0);

-- Numbers of deleted projects, never given out again; retention deletes what they stored.
CREATE TABLE project_deleted (
    project_id        INTEGER PRIMARY KEY,
    name              TEXT NOT NULL,
    deleted_unix_nano INTEGER NOT NULL
) STRICT;

CREATE TABLE api_key (
    key_id              TEXT PRIMARY KEY,
    project_id          INTEGER NOT NULL,
    name                TEXT NOT NULL,
    hash                BLOB NOT NULL UNIQUE,  -- SHA-256
    prefix              TEXT NOT NULL,         -- its first characters
    scopes              INTEGER NOT NULL,      -- 1 ingest, 2 read, 4 admin
    created_unix_nano   INTEGER NOT NULL,
    expires_unix_nano   INTEGER,
    revoked_unix_nano   INTEGER,
    last_used_unix_nano INTEGER                -- to the minute
) STRICT, WITHOUT ROWID;
CREATE INDEX api_key_project ON api_key (project_id, created_unix_nano, key_id);

CREATE TABLE account (
    user_id           TEXT PRIMARY KEY,
    email             TEXT NOT NULL UNIQUE,    -- lower case
    name              TEXT NOT NULL,
    password          TEXT NOT NULL,           -- argon2id, PHC format
    created_unix_nano INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE membership (
    project_id INTEGER NOT NULL,
    user_id    TEXT NOT NULL,
    role       TEXT NOT NULL,                  -- admin, member, viewer
    PRIMARY KEY (project_id, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX membership_user ON membership (user_id, project_id);

-- Sessions of browsers.
CREATE TABLE login (
    token_hash        BLOB PRIMARY KEY,        -- SHA-256
    user_id           TEXT NOT NULL,
    created_unix_nano INTEGER NOT NULL,
    expires_unix_nano INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX login_user ON login (user_id);
CREATE INDEX login_expires ON login (expires_unix_nano);

CREATE TABLE invite (
    token_hash        BLOB PRIMARY KEY,        -- SHA-256
    project_id        INTEGER NOT NULL,
    email             TEXT NOT NULL,
    role              TEXT NOT NULL,
    expires_unix_nano INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What was changed, by whom and when.
CREATE TABLE audit (
    number       INTEGER PRIMARY KEY,          -- the generation that the change made
    at_unix_nano INTEGER NOT NULL,
    by           TEXT NOT NULL,
    action       TEXT NOT NULL,
    project_id   INTEGER,
    target       TEXT NOT NULL
) STRICT;
CREATE INDEX audit_project ON audit (project_id, number);
