import core.file_names
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import predictions.models
from django.conf import settings
from django.db import migrations, models

# A partition for each month of ids: see predictions.partitions.
TO_PARTITIONS = """
CREATE FUNCTION pg_temp.lowest_id(moment timestamptz) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM moment) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid
$$;
ALTER TABLE predictions_prediction RENAME TO predictions_prediction_flat;
CREATE TABLE predictions_prediction (LIKE predictions_prediction_flat INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY RANGE (id);
CREATE TABLE predictions_prediction_default PARTITION OF predictions_prediction DEFAULT;
DO $$
DECLARE month timestamp;
BEGIN
    FOR month IN
        SELECT date_trunc('month', now() AT TIME ZONE 'UTC') + ahead * interval '1 month' FROM generate_series(0, 2) ahead
    LOOP
        EXECUTE format('CREATE TABLE %I PARTITION OF predictions_prediction FOR VALUES FROM (%L) TO (%L)',
                       'predictions_prediction_' || to_char(month, 'YYYY_MM'),
                       pg_temp.lowest_id(month AT TIME ZONE 'UTC'),
                       pg_temp.lowest_id((month + interval '1 month') AT TIME ZONE 'UTC'));
    END LOOP;
END $$;
DROP TABLE predictions_prediction_flat;
ALTER TABLE predictions_prediction ADD PRIMARY KEY (id);
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='DeadLetter',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('entry_id', models.CharField(max_length=50, unique=True, verbose_name='entry')),
                ('raw', models.BinaryField(verbose_name='content')),
                ('error', models.TextField(verbose_name='error')),
                ('attempts', models.PositiveIntegerField(verbose_name='attempts')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='created')),
            ],
            options={
                'verbose_name': 'dead letter',
                'verbose_name_plural': 'dead letters',
                'ordering': ('-pk',),
            },
        ),
        migrations.CreateModel(
            name='Outcome',
            fields=[
                ('prediction_id', models.UUIDField(primary_key=True, serialize=False, verbose_name='prediction')),
                ('actual', models.BooleanField(verbose_name='actual')),
                ('recorded_at', models.DateTimeField(auto_now_add=True, verbose_name='recorded')),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL, verbose_name='by')),
            ],
            options={
                'verbose_name': 'outcome',
                'verbose_name_plural': 'outcomes',
            },
        ),
        migrations.CreateModel(
            name='Prediction',
            fields=[
                ('pclass', models.PositiveSmallIntegerField(choices=[(1, 'First'), (2, 'Second'), (3, 'Third')], help_text='Ticket class: 1, 2 or 3.', verbose_name='Class')),
                ('sex', models.CharField(choices=[('male', 'Male'), ('female', 'Female')], help_text='As recorded in the passenger list.', max_length=6, verbose_name='Sex')),
                ('age', models.FloatField(blank=True, help_text='In years; below one as a fraction. Leave empty if unknown.', null=True, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(120)], verbose_name='Age')),
                ('sibsp', models.PositiveSmallIntegerField(default=0, help_text='Brothers, sisters, husband or wife travelling along.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(20)], verbose_name='Siblings and spouses aboard')),
                ('parch', models.PositiveSmallIntegerField(default=0, help_text='Mother, father, sons and daughters travelling along.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(20)], verbose_name='Parents and children aboard')),
                ('fare', models.FloatField(blank=True, help_text='In pounds, for the whole ticket. Leave empty if unknown.', null=True, validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(100000)], verbose_name='Fare')),
                ('embarked', models.CharField(blank=True, choices=[('C', 'Cherbourg'), ('Q', 'Queenstown'), ('S', 'Southampton')], help_text='Where the passenger came aboard: C, Q or S.', max_length=1, null=True, verbose_name='Port')),
                ('cabin', models.CharField(blank=True, help_text='For example C85. Leave empty if unknown.', max_length=60, null=True, verbose_name='Cabin')),
                ('name', models.CharField(blank=True, help_text='For example “Allen, Miss. Elisabeth Walton”; the honorific gives the title.', max_length=200, null=True, verbose_name='Name')),
                ('title', models.CharField(blank=True, choices=[('Mr', 'Mr'), ('Miss', 'Miss'), ('Mrs', 'Mrs'), ('Master', 'Master'), ('Rare', 'Rare')], help_text='Leave empty to read it from the name.', max_length=6, null=True, verbose_name='Title')),
                ('ticket', models.CharField(blank=True, help_text='Ticket number; not used by the model.', max_length=40, null=True, verbose_name='Ticket')),
                ('id', models.UUIDField(default=predictions.models.new_id, editable=False, primary_key=True, serialize=False)),
                ('model_version', models.PositiveIntegerField(verbose_name='model')),
                ('probability', models.FloatField(verbose_name='probability')),
                ('threshold', models.FloatField(verbose_name='threshold')),
                ('predicted', models.BooleanField(verbose_name='predicted')),
                ('source', models.CharField(choices=[('form', 'Form'), ('api', 'API'), ('batch', 'API batch'), ('csv', 'CSV file'), ('v2', 'Open Inference Protocol')], max_length=5, verbose_name='channel')),
                ('scoring_job_id', models.BigIntegerField(null=True, verbose_name='scoring job')),
                ('created_at', models.DateTimeField(verbose_name='created')),
            ],
            options={
                'verbose_name': 'prediction',
                'verbose_name_plural': 'predictions',
                'ordering': ('-id',),
            },
        ),
        migrations.RunSQL(TO_PARTITIONS, migrations.RunSQL.noop),
        migrations.AddIndex(
            model_name='prediction', index=models.Index(fields=['model_version', 'id'], name='prediction_by_model')
        ),
        migrations.AddIndex(
            model_name='prediction',
            index=models.Index(condition=models.Q(('source__in', ['form', 'api', 'v2'])), fields=['source', 'id'], name='prediction_by_channel'),
        ),
        migrations.AddIndex(
            model_name='prediction',
            index=models.Index(condition=models.Q(('scoring_job_id__isnull', False)), fields=['scoring_job_id', 'id'], name='prediction_by_job'),
        ),
        migrations.CreateModel(
            name='ScoringJob',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('state', models.CharField(choices=[('queued', 'Queued'), ('running', 'Running'), ('succeeded', 'Succeeded'), ('failed', 'Failed'), ('cancelled', 'Cancelled')], default='queued', editable=False, max_length=9, verbose_name='state')),
                ('error', models.TextField(blank=True, editable=False, verbose_name='error')),
                ('progress', models.FloatField(default=0, editable=False, help_text='0 to 1', verbose_name='progress')),
                ('handled_count', models.PositiveBigIntegerField(editable=False, null=True, verbose_name='rows so far')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='created')),
                ('started_at', models.DateTimeField(editable=False, null=True, verbose_name='started')),
                ('finished_at', models.DateTimeField(editable=False, null=True, verbose_name='finished')),
                ('sent_at', models.DateTimeField(default=django.utils.timezone.now, editable=False)),
                ('lease_expires_at', models.DateTimeField(editable=False, null=True)),
                ('worker', models.CharField(blank=True, editable=False, max_length=200, verbose_name='worker')),
                ('name', models.CharField(max_length=200, verbose_name='name')),
                ('upload', models.FileField(max_length=300, upload_to=core.file_names.GeneratedName('scoring'), verbose_name='file')),
                ('is_explained', models.BooleanField(default=False, verbose_name='explained')),
                ('row_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='rows')),
                ('problem_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='rejected rows')),
                ('starts', models.PositiveSmallIntegerField(default=0, editable=False, verbose_name='starts')),
                ('model_version', models.PositiveIntegerField(editable=False, null=True, verbose_name='model')),
                ('split_at', models.DateTimeField(editable=False, null=True)),
                ('header', models.JSONField(editable=False, null=True)),
                ('created_by', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL, verbose_name='by')),
            ],
            options={
                'verbose_name': 'scoring job',
                'verbose_name_plural': 'scoring jobs',
                'ordering': ('-pk',),
                'get_latest_by': 'pk',
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='ShadowScore',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('model_version', models.PositiveIntegerField(verbose_name='model')),
                ('prediction_id', models.UUIDField(verbose_name='prediction')),
                ('probability', models.FloatField(verbose_name='probability')),
                ('predicted', models.BooleanField(verbose_name='predicted')),
                ('created_at', models.DateTimeField(verbose_name='created')),
            ],
            options={
                'verbose_name': 'shadow score',
                'verbose_name_plural': 'shadow scores',
                'constraints': [models.UniqueConstraint(fields=('model_version', 'prediction_id'), name='one_shadow_score_by_model')],
            },
        ),
        migrations.CreateModel(
            name='ScoringPart',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('number', models.PositiveIntegerField(verbose_name='number')),
                ('start', models.PositiveBigIntegerField(verbose_name='from byte')),
                ('end', models.PositiveBigIntegerField(verbose_name='to byte')),
                ('line', models.PositiveIntegerField(verbose_name='lines before')),
                ('is_done', models.BooleanField(default=False, verbose_name='done')),
                ('row_count', models.PositiveIntegerField(default=0, verbose_name='rows')),
                ('problem_count', models.PositiveIntegerField(default=0, verbose_name='rejected rows')),
                ('results', models.FileField(blank=True, max_length=300, upload_to='', verbose_name='results')),
                ('result_bytes', models.PositiveBigIntegerField(default=0, verbose_name='bytes')),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='parts', to='predictions.scoringjob')),
            ],
            options={
                'verbose_name': 'part of a scoring job',
                'verbose_name_plural': 'parts of scoring jobs',
                'ordering': ('job', 'number'),
                'constraints': [models.UniqueConstraint(fields=('job', 'number'), name='scoring_part_once')],
            },
        ),
    ]
