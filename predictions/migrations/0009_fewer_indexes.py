"""Index what is rare: half of what a row of a batch cost Postgres were indexes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("predictions", "0008_scoring_parts")]

    operations = [
        migrations.RemoveIndex("prediction", "prediction_by_answer"),
        migrations.RemoveIndex("prediction", "prediction_by_door"),
        migrations.AddIndex(
            "prediction",
            models.Index(
                fields=["source", "id"],
                name="prediction_by_door",
                condition=models.Q(source__in=["form", "api", "v2"]),
            ),
        ),
    ]
