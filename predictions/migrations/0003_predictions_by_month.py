"""Keep the prediction log in partitions, one for each month of ids."""

from django.db import migrations, models

FUNCTIONS = """
CREATE OR REPLACE FUNCTION pg_temp.lowest_id(moment timestamptz) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
"""

TO_PARTITIONS = FUNCTIONS + """
ALTER TABLE predictions_prediction RENAME TO predictions_prediction_flat;
CREATE TABLE predictions_prediction (LIKE predictions_prediction_flat INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (id);
CREATE TABLE predictions_prediction_default PARTITION OF predictions_prediction DEFAULT;
DO $$
DECLARE month timestamp;
BEGIN
    FOR month IN
        SELECT date_trunc('month', created_at AT TIME ZONE 'UTC') FROM predictions_prediction_flat
        UNION
        SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + ahead * interval '1 month' FROM generate_series(0, 2) ahead
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF predictions_prediction FOR VALUES FROM (%L) TO (%L)',
                       'predictions_prediction_' || to_char(month, 'YYYY_MM'),
                       pg_temp.lowest_id(month AT TIME ZONE 'UTC'),
                       pg_temp.lowest_id((month + interval '1 month') AT TIME ZONE 'UTC'));
    END LOOP;
END $$;
INSERT INTO predictions_prediction SELECT * FROM predictions_prediction_flat;
DROP TABLE predictions_prediction_flat;
ALTER TABLE predictions_prediction ADD PRIMARY KEY (id);
"""

TO_ONE_TABLE = """
ALTER TABLE predictions_prediction RENAME TO predictions_prediction_parts;
CREATE TABLE predictions_prediction (LIKE predictions_prediction_parts INCLUDING DEFAULTS INCLUDING CONSTRAINTS);
INSERT INTO predictions_prediction SELECT * FROM predictions_prediction_parts;
DROP TABLE predictions_prediction_parts;
ALTER TABLE predictions_prediction ADD PRIMARY KEY (id);
"""


class Migration(migrations.Migration):
    dependencies = [("predictions", "0002_handled_count")]

    operations = [
        # Its index is made anew below, over those rows alone that a job wrote.
        migrations.AlterField(
            "prediction", "scoring_job_id", models.BigIntegerField(null=True, verbose_name="scoring job")
        ),
        migrations.RunSQL(TO_PARTITIONS, TO_ONE_TABLE),
        migrations.AddIndex(
            "prediction", models.Index(fields=["model_version", "id"], name="prediction_by_model")
        ),
        migrations.AddIndex("prediction", models.Index(fields=["survived", "id"], name="prediction_by_answer")),
        migrations.AddIndex("prediction", models.Index(fields=["source", "id"], name="prediction_by_door")),
        migrations.AddIndex(
            "prediction",
            models.Index(
                fields=["scoring_job_id", "id"], name="prediction_by_job", condition=models.Q(scoring_job_id__isnull=False)
            ),
        ),
    ]
