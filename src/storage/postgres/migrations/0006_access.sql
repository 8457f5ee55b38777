-- Who may use which project. Secrets are stored as hashes only. Control tables.

CREATE TABLE access_state (
    one        bigint PRIMARY KEY CHECK (one = 1),
    generation bigint NOT NULL
);
INSERT INTO access_state VALUES (1, 0);
COMMENT ON TABLE access_state IS 'Tells whether anything about access was changed. Control table.';
COMMENT ON COLUMN access_state.one IS 'There is one row.';
COMMENT ON COLUMN access_state.generation IS 'Number of the latest change; every change adds one.';

CREATE TABLE project_deleted (
    project_id        bigint PRIMARY KEY,
    name              text COLLATE "C" NOT NULL,
    deleted_unix_nano bigint NOT NULL
);
COMMENT ON TABLE project_deleted IS 'Deleted projects; retention deletes what they stored. Control table.';
COMMENT ON COLUMN project_deleted.project_id IS 'Its number, which is never given out again.';
COMMENT ON COLUMN project_deleted.name IS 'Its name at the end.';
COMMENT ON COLUMN project_deleted.deleted_unix_nano IS 'When it was deleted, ns since the Unix epoch.';

CREATE TABLE api_key (
    key_id              text COLLATE "C" PRIMARY KEY,
    project_id          bigint NOT NULL,
    name                text COLLATE "C" NOT NULL,
    hash                bytea NOT NULL UNIQUE,
    prefix              text COLLATE "C" NOT NULL,
    scopes              bigint NOT NULL,
    created_unix_nano   bigint NOT NULL,
    expires_unix_nano   bigint,
    revoked_unix_nano   bigint,
    last_used_unix_nano bigint
);
CREATE INDEX api_key_project ON api_key (project_id, created_unix_nano, key_id);
COMMENT ON TABLE api_key IS 'Keys that send and read. Control table.';
COMMENT ON COLUMN api_key.key_id IS 'Names the key in lists.';
COMMENT ON COLUMN api_key.project_id IS 'Whose it is.';
COMMENT ON COLUMN api_key.name IS 'What people call it.';
COMMENT ON COLUMN api_key.hash IS 'SHA-256 of the key.';
COMMENT ON COLUMN api_key.prefix IS 'Its first characters.';
COMMENT ON COLUMN api_key.scopes IS 'What it allows, a sum: 1 ingest, 2 read, 4 admin.';
COMMENT ON COLUMN api_key.created_unix_nano IS 'When it was created, ns since the Unix epoch.';
COMMENT ON COLUMN api_key.expires_unix_nano IS 'When it stops, ns since the Unix epoch; NULL: never.';
COMMENT ON COLUMN api_key.revoked_unix_nano IS 'When it was revoked, ns since the Unix epoch.';
COMMENT ON COLUMN api_key.last_used_unix_nano IS 'When it was last used, to the minute, ns since the Unix epoch.';

CREATE TABLE account (
    user_id           text COLLATE "C" PRIMARY KEY,
    email             text COLLATE "C" NOT NULL UNIQUE,
    name              text COLLATE "C" NOT NULL,
    password          text COLLATE "C" NOT NULL,
    created_unix_nano bigint NOT NULL
);
COMMENT ON TABLE account IS 'People. Control table.';
COMMENT ON COLUMN account.user_id IS 'Names the person.';
COMMENT ON COLUMN account.email IS 'Address, in lower case.';
COMMENT ON COLUMN account.name IS 'What people call them.';
COMMENT ON COLUMN account.password IS 'Hash of the password: argon2id, PHC format.';
COMMENT ON COLUMN account.created_unix_nano IS 'When they were added, ns since the Unix epoch.';

CREATE TABLE membership (
    project_id bigint NOT NULL,
    user_id    text COLLATE "C" NOT NULL,
    role       text COLLATE "C" NOT NULL,
    PRIMARY KEY (project_id, user_id)
);
CREATE INDEX membership_user ON membership (user_id, project_id);
COMMENT ON TABLE membership IS 'What people may do in which project.';
COMMENT ON COLUMN membership.project_id IS 'The project.';
COMMENT ON COLUMN membership.user_id IS 'The person.';
COMMENT ON COLUMN membership.role IS 'admin, member or viewer.';

CREATE TABLE login (
    token_hash        bytea PRIMARY KEY,
    user_id           text COLLATE "C" NOT NULL,
    created_unix_nano bigint NOT NULL,
    expires_unix_nano bigint NOT NULL
);
CREATE INDEX login_user ON login (user_id);
CREATE INDEX login_expires ON login (expires_unix_nano);
COMMENT ON TABLE login IS 'Sessions of browsers. Control table.';
COMMENT ON COLUMN login.token_hash IS 'SHA-256 of its token.';
COMMENT ON COLUMN login.user_id IS 'Whose it is.';
COMMENT ON COLUMN login.created_unix_nano IS 'When it began, ns since the Unix epoch.';
COMMENT ON COLUMN login.expires_unix_nano IS 'When it ends, ns since the Unix epoch.';

CREATE TABLE invite (
    token_hash        bytea PRIMARY KEY,
    project_id        bigint NOT NULL,
    email             text COLLATE "C" NOT NULL,
    role              text COLLATE "C" NOT NULL,
    expires_unix_nano bigint NOT NULL
);
COMMENT ON TABLE invite IS 'Invitations to projects, good once. Control table.';
COMMENT ON COLUMN invite.token_hash IS 'SHA-256 of its token.';
COMMENT ON COLUMN invite.project_id IS 'The project.';
COMMENT ON COLUMN invite.email IS 'Who is invited, in lower case.';
COMMENT ON COLUMN invite.role IS 'admin, member or viewer.';
COMMENT ON COLUMN invite.expires_unix_nano IS 'When it ends, ns since the Unix epoch.';

CREATE TABLE audit (
    number       bigint PRIMARY KEY,
    at_unix_nano bigint NOT NULL,
    by           text COLLATE "C" NOT NULL,
    action       text COLLATE "C" NOT NULL,
    project_id   bigint,
    target       text COLLATE "C" NOT NULL
);
CREATE INDEX audit_project ON audit (project_id, number);
COMMENT ON TABLE audit IS 'What was changed, by whom and when. Control table.';
COMMENT ON COLUMN audit.number IS 'The generation that the change made.';
COMMENT ON COLUMN audit.at_unix_nano IS 'When, ns since the Unix epoch.';
COMMENT ON COLUMN audit.by IS 'Who.';
COMMENT ON COLUMN audit.action IS 'What was done, as in key.create.';
COMMENT ON COLUMN audit.project_id IS 'The project it is about, if it is about one.';
COMMENT ON COLUMN audit.target IS 'What it was done to, by id or name.';
