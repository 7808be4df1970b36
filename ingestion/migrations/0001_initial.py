import core.file_names
import django.core.validators
import django.db.models.deletion
import django.utils.timezone
import ingestion.models
from django.db import migrations, models

# A partition for each dataset: see ingestion.partitions.
TO_PARTITIONS = """
ALTER TABLE ingestion_passenger RENAME TO ingestion_passenger_flat;
ALTER TABLE ingestion_passenger_flat ALTER id DROP IDENTITY;
CREATE TABLE ingestion_passenger (LIKE ingestion_passenger_flat INCLUDING DEFAULTS INCLUDING CONSTRAINTS)
    PARTITION BY LIST (dataset_id);
CREATE SEQUENCE ingestion_passenger_id_sequence OWNED BY ingestion_passenger.id;
ALTER TABLE ingestion_passenger ALTER id SET DEFAULT nextval('ingestion_passenger_id_sequence');
DROP TABLE ingestion_passenger_flat;
"""


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('django_celery_beat', '0019_alter_periodictasks_options'),
    ]

    operations = [
        migrations.CreateModel(
            name='Dataset',
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
                ('has_label', models.BooleanField(default=True, help_text='Whether each row has the label.', verbose_name='has the label')),
                ('headings', models.JSONField(blank=True, default=dict, help_text='Where a column has another heading than its name, as {“column”: “heading”}. Case, blanks and underscores do not matter.', validators=[ingestion.models.validate_headings], verbose_name='other headings')),
                ('largest_problem_share', models.FloatField(default=0.1, help_text='Above this share (0 to 1) the whole table is rejected.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)], verbose_name='largest share of rejected rows')),
                ('largest_missing_share', models.FloatField(default=1, help_text='The whole table is rejected when a column has a larger share (0 to 1) of unknown values; 1 never rejects.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)], verbose_name='largest share of missing values')),
                ('rejects_warnings', models.BooleanField(default=False, help_text='Reject rows with warnings; otherwise they are loaded and the warning is recorded.', verbose_name='reject unlikely rows')),
                ('name', models.CharField(max_length=200, verbose_name='name')),
                ('uri', models.CharField(max_length=1000, verbose_name='address')),
                ('version', models.CharField(blank=True, editable=False, max_length=300, verbose_name='version')),
                ('is_forced', models.BooleanField(default=False, editable=False)),
                ('by_operator', models.BooleanField(default=False, editable=False)),
                ('upload', models.FileField(blank=True, max_length=300, upload_to=core.file_names.GeneratedName('uploads'), verbose_name='upload')),
                ('sha256', models.CharField(blank=True, db_index=True, editable=False, max_length=64)),
                ('byte_count', models.BigIntegerField(editable=False, null=True, verbose_name='bytes')),
                ('row_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='rows')),
                ('problem_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='rejected rows')),
                ('warning_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='rows with warnings')),
                ('split', models.JSONField(editable=False, null=True, verbose_name='split')),
                ('profile', models.JSONField(editable=False, null=True, verbose_name='profile')),
                ('revision', models.PositiveIntegerField(default=0, editable=False, verbose_name='revision')),
                ('is_rejected', models.BooleanField(default=False, editable=False)),
                ('archived_at', models.DateTimeField(editable=False, null=True, verbose_name='archived')),
            ],
            options={
                'verbose_name': 'dataset',
                'verbose_name_plural': 'datasets',
                'ordering': ('-pk',),
                'get_latest_by': 'pk',
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='RowProblem',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('line_number', models.PositiveIntegerField(verbose_name='line')),
                ('column', models.CharField(max_length=100, verbose_name='column')),
                ('value', models.TextField(blank=True, verbose_name='value')),
                ('code', models.CharField(max_length=40, verbose_name='code')),
                ('message', models.CharField(max_length=300)),
                ('params', models.JSONField(default=dict)),
                ('severity', models.CharField(choices=[('error', 'Rejected'), ('warning', 'Loaded with a warning')], default='error', max_length=7, verbose_name='severity')),
                ('dataset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='problems', to='ingestion.dataset')),
            ],
            options={
                'verbose_name': 'reason of a rejection',
                'verbose_name_plural': 'reasons of rejections',
                'ordering': ('line_number', 'pk'),
            },
        ),
        migrations.CreateModel(
            name='Source',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('has_label', models.BooleanField(default=True, help_text='Whether each row has the label.', verbose_name='has the label')),
                ('headings', models.JSONField(blank=True, default=dict, help_text='Where a column has another heading than its name, as {“column”: “heading”}. Case, blanks and underscores do not matter.', validators=[ingestion.models.validate_headings], verbose_name='other headings')),
                ('largest_problem_share', models.FloatField(default=0.1, help_text='Above this share (0 to 1) the whole table is rejected.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)], verbose_name='largest share of rejected rows')),
                ('largest_missing_share', models.FloatField(default=1, help_text='The whole table is rejected when a column has a larger share (0 to 1) of unknown values; 1 never rejects.', validators=[django.core.validators.MinValueValidator(0), django.core.validators.MaxValueValidator(1)], verbose_name='largest share of missing values')),
                ('rejects_warnings', models.BooleanField(default=False, help_text='Reject rows with warnings; otherwise they are loaded and the warning is recorded.', verbose_name='reject unlikely rows')),
                ('name', models.CharField(max_length=100, unique=True, verbose_name='name')),
                ('uri', models.CharField(help_text='gs://bucket/object, gs://bucket/prefix*, https://…, a file in the inbox, or postgresql://user:password@host/database#table.', max_length=1000, verbose_name='address')),
                ('checked_at', models.DateTimeField(editable=False, null=True, verbose_name='last checked')),
                ('error', models.TextField(blank=True, editable=False, verbose_name='error')),
                ('keep_count', models.PositiveSmallIntegerField(blank=True, help_text='The rows of older datasets are archived each night, except those in use by a model. Empty keeps all.', null=True, validators=[django.core.validators.MinValueValidator(1)], verbose_name='datasets to keep')),
                ('schedule', models.OneToOneField(editable=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='django_celery_beat.periodictask', verbose_name='schedule')),
            ],
            options={
                'verbose_name': 'source',
                'verbose_name_plural': 'sources',
                'ordering': ('name',),
            },
        ),
        migrations.AddField(
            model_name='dataset',
            name='source',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='datasets', to='ingestion.source', verbose_name='source'),
        ),
        migrations.CreateModel(
            name='Passenger',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
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
                ('passenger_id', models.CharField(max_length=40, verbose_name='Passenger')),
                ('survived', models.BooleanField(null=True, verbose_name='Survived')),
                ('line_number', models.PositiveIntegerField(verbose_name='line')),
                ('is_holdout', models.BooleanField(default=False, verbose_name='hold-out')),
                ('revision', models.PositiveIntegerField(default=0, verbose_name='revision')),
                ('dataset', models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.CASCADE, related_name='passengers', to='ingestion.dataset')),
            ],
            options={
                'verbose_name': 'row',
                'verbose_name_plural': 'rows',
            },
        ),
        migrations.RunSQL(TO_PARTITIONS, migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name='passenger',
            constraint=models.UniqueConstraint(fields=('dataset', 'line_number'), name='one_passenger_per_line'),
        ),
        migrations.AddConstraint(
            model_name='passenger',
            constraint=models.UniqueConstraint(fields=('dataset', 'passenger_id'), name='passenger_once_per_dataset'),
        ),
        migrations.CreateModel(
            name='RejectedRow',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('line_number', models.PositiveIntegerField(verbose_name='line')),
                ('cells', models.JSONField(verbose_name='cells')),
                ('corrected_at', models.DateTimeField(null=True, verbose_name='corrected')),
                ('dataset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='rejected_rows', to='ingestion.dataset')),
            ],
            options={
                'verbose_name': 'rejected row',
                'verbose_name_plural': 'rejected rows',
                'ordering': ('line_number',),
                'constraints': [models.UniqueConstraint(fields=('dataset', 'line_number'), name='one_rejected_row_per_line')],
            },
        ),
        migrations.AddConstraint(
            model_name='source',
            constraint=models.CheckConstraint(condition=models.Q(('largest_problem_share__gte', 0), ('largest_problem_share__lte', 1)), name='source_share_is_a_share'),
        ),
        migrations.AddConstraint(
            model_name='dataset',
            constraint=models.UniqueConstraint(condition=models.Q(('is_forced', False), ('state__in', ('queued', 'running'))), fields=('source', 'uri'), name='one_ingest_at_a_time_per_object'),
        ),
        migrations.AddConstraint(
            model_name='dataset',
            constraint=models.UniqueConstraint(condition=models.Q(('is_forced', False), ('source__isnull', False), ('state', 'succeeded')), fields=('source', 'uri', 'sha256', 'has_label', 'headings', 'largest_problem_share', 'largest_missing_share', 'rejects_warnings'), name='each_content_once_per_object'),
        ),
    ]
