-- What projects have settled for themselves, such as prices.
CREATE TABLE project_setting (
    project_id INTEGER NOT NULL,
    name       TEXT NOT NULL,
    value      BLOB NOT NULL,
    PRIMARY KEY (project_id, name)
) STRICT, WITHOUT ROWID;
