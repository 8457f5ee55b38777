-- Image tokens, as audio tokens are kept.
ALTER TABLE span
    ADD COLUMN image_input_tokens bigint,
    ADD COLUMN image_output_tokens bigint;
ALTER TABLE span
    ALTER COLUMN image_input_tokens SET STATISTICS 0,
    ALTER COLUMN image_output_tokens SET STATISTICS 0;
COMMENT ON COLUMN span.image_input_tokens IS 'Image tokens of the input.';
COMMENT ON COLUMN span.image_output_tokens IS 'Image tokens of the output.';
