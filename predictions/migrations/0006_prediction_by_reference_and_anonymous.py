from django.db import migrations, models

# A partitioned table takes no CREATE INDEX CONCURRENTLY: the index is made empty, filled partition by partition while
# rows are written, and is valid when all of its parts are attached. Safe to repeat after it broke off.
INDEXES = {
    "prediction_by_reference": ("reference_id_idx", "(reference, id) WHERE reference IS NOT NULL"),
    "prediction_anonymous": ("id_idx", "(id) WHERE anonymous"),
}


def create(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for index, (suffix, definition) in INDEXES.items():
            cursor.execute(f"CREATE INDEX IF NOT EXISTS {index} ON ONLY predictions_prediction {definition}")
            cursor.execute(
                "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'predictions_prediction'::regclass"
                # A part that is attached already needs no other.
                " AND NOT EXISTS (SELECT FROM pg_index part JOIN pg_inherits attached ON attached.inhrelid = part.indexrelid"
                " WHERE part.indrelid = pg_inherits.inhrelid AND attached.inhparent = %s::regclass)",
                [index],
            )
            for (partition,) in cursor.fetchall():
                cursor.execute(f"DROP INDEX IF EXISTS {partition}_{suffix}")
                cursor.execute(f"CREATE INDEX CONCURRENTLY {partition}_{suffix} ON {partition} {definition}")
                cursor.execute(f"ALTER INDEX {index} ATTACH PARTITION {partition}_{suffix}")


def drop(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        for index in INDEXES:
            cursor.execute(f"DROP INDEX IF EXISTS {index}")


class Migration(migrations.Migration):

    atomic = False

    dependencies = [
        ('predictions', '0005_prediction_reference_anonymous_request_id'),
    ]

    operations = [
        migrations.SeparateDatabaseAndState(
            [migrations.RunPython(create, drop)],
            [
                migrations.AddIndex(
                    model_name='prediction',
                    index=models.Index(condition=models.Q(('reference__isnull', False)), fields=['reference', 'id'], name='prediction_by_reference'),
                ),
                migrations.AddIndex(
                    model_name='prediction',
                    index=models.Index(condition=models.Q(('anonymous', True)), fields=['id'], name='prediction_anonymous'),
                ),
            ],
        ),
    ]
