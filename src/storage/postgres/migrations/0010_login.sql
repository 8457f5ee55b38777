-- Sessions of browsers, made anew with what people are shown of them. There was no way to begin one.
DROP TABLE login;
CREATE TABLE login (
    token_hash        bytea PRIMARY KEY,
    login_id          text COLLATE "C" NOT NULL,
    user_id           text COLLATE "C" NOT NULL,
    created_unix_nano bigint NOT NULL,
    expires_unix_nano bigint NOT NULL,
    seen_unix_nano    bigint NOT NULL,
    address           text COLLATE "C" NOT NULL,
    user_agent        text COLLATE "C" NOT NULL,
    key_id            text COLLATE "C",
    project_id        bigint,
    scopes            bigint NOT NULL
);
CREATE INDEX login_user ON login (user_id, created_unix_nano);
CREATE INDEX login_expires ON login (expires_unix_nano);
COMMENT ON TABLE login IS 'Sessions of browsers. Control table.';
COMMENT ON COLUMN login.token_hash IS 'SHA-256 of its token.';
COMMENT ON COLUMN login.login_id IS 'Names the session.';
COMMENT ON COLUMN login.user_id IS 'Whose it is.';
COMMENT ON COLUMN login.created_unix_nano IS 'When it began, ns since the Unix epoch.';
COMMENT ON COLUMN login.expires_unix_nano IS 'When it ends, ns since the Unix epoch.';
COMMENT ON COLUMN login.seen_unix_nano IS 'When it was last used, to the minute, ns since the Unix epoch.';
COMMENT ON COLUMN login.address IS 'Address it was begun from.';
COMMENT ON COLUMN login.user_agent IS 'Program it was begun with.';
COMMENT ON COLUMN login.key_id IS 'The key it was begun with, and is good as long as; NULL: a password.';
COMMENT ON COLUMN login.project_id IS 'The only project it is good for; NULL: all of the person''s.';
COMMENT ON COLUMN login.scopes IS 'The most it allows, a sum: 1 ingest, 2 read, 4 admin.';

CREATE TABLE secret (
    name  text COLLATE "C" PRIMARY KEY,
    value bytea NOT NULL
);
COMMENT ON TABLE secret IS 'What the daemons of this store sign with. Control table.';
COMMENT ON COLUMN secret.name IS 'What it is for.';
COMMENT ON COLUMN secret.value IS 'The secret.';
