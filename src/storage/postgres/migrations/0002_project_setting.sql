-- What projects have settled for themselves, such as prices.
CREATE TABLE project_setting (
    project_id bigint NOT NULL,
    name       text COLLATE "C" NOT NULL,
    value      bytea NOT NULL,
    PRIMARY KEY (project_id, name)
);
COMMENT ON TABLE project_setting IS 'What projects have settled for themselves.';
COMMENT ON COLUMN project_setting.project_id IS 'Owner.';
COMMENT ON COLUMN project_setting.name IS
    'prices: prices before the configured ones, a JSON array of the entries of processors.pricing.overrides.';
COMMENT ON COLUMN project_setting.value IS 'The value.';
