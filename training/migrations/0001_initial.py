import django.core.validators
import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('features', '0001_initial'),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='ModelVersion',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('version', models.PositiveIntegerField(unique=True, verbose_name='version')),
                ('stage', models.CharField(choices=[('candidate', 'Candidate'), ('challenger', 'Challenger'), ('champion', 'Champion'), ('retired', 'Retired')], default='candidate', max_length=10, verbose_name='stage')),
                ('threshold', models.FloatField(default=0.5, verbose_name='threshold')),
                ('metrics', models.JSONField(verbose_name='metrics')),
                ('parameters', models.JSONField(verbose_name='parameters')),
                ('made_with', models.JSONField(verbose_name='made with')),
                ('gate', models.JSONField(null=True, verbose_name='verdict of the gate')),
                ('definition_version', models.CharField(max_length=20, verbose_name='definition')),
                ('onnx_file', models.FileField(max_length=200, upload_to='', verbose_name='ONNX file')),
                ('pkl_file', models.FileField(max_length=200, upload_to='', verbose_name='pickle')),
                ('sha256', models.CharField(max_length=64, verbose_name='SHA-256 of the ONNX file')),
                ('byte_count', models.PositiveIntegerField(verbose_name='bytes')),
                ('golden_rows', models.JSONField(verbose_name='golden rows')),
                ('background', models.JSONField(default=list, editable=False)),
                ('created_at', models.DateTimeField(auto_now_add=True, verbose_name='created')),
            ],
            options={
                'verbose_name': 'model version',
                'verbose_name_plural': 'model versions',
                'ordering': ('-version',),
                'get_latest_by': 'version',
            },
        ),
        migrations.CreateModel(
            name='Reproduction',
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
                ('is_equal', models.BooleanField(editable=False, null=True, verbose_name='equal')),
                ('sha256', models.CharField(blank=True, editable=False, max_length=64, verbose_name='SHA-256 of the ONNX file')),
                ('differences', models.JSONField(default=list, editable=False, verbose_name='differences')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='reproductions', to='training.modelversion', verbose_name='version')),
            ],
            options={
                'verbose_name': 'reproduction',
                'verbose_name_plural': 'reproductions',
                'ordering': ('-pk',),
                'get_latest_by': 'pk',
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='StageChange',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('before', models.CharField(choices=[('candidate', 'Candidate'), ('challenger', 'Challenger'), ('champion', 'Champion'), ('retired', 'Retired')], max_length=10, verbose_name='before')),
                ('after', models.CharField(choices=[('candidate', 'Candidate'), ('challenger', 'Challenger'), ('champion', 'Champion'), ('retired', 'Retired')], max_length=10, verbose_name='after')),
                ('reason', models.CharField(blank=True, max_length=300, verbose_name='reason')),
                ('is_rollback', models.BooleanField(default=False, verbose_name='rolled back')),
                ('at', models.DateTimeField(auto_now_add=True, verbose_name='at')),
                ('by', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, to=settings.AUTH_USER_MODEL, verbose_name='by')),
                ('version', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='stage_changes', to='training.modelversion', verbose_name='version')),
            ],
            options={
                'verbose_name': 'stage change',
                'verbose_name_plural': 'stage changes',
                'ordering': ('-at', '-pk'),
            },
        ),
        migrations.CreateModel(
            name='TrainingRun',
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
                ('algorithm', models.CharField(choices=[('random_forest', 'Random forest'), ('gradient_boosting', 'Gradient boosting'), ('logistic_regression', 'Logistic regression')], default='random_forest', max_length=40, verbose_name='algorithm')),
                ('seed', models.PositiveIntegerField(default=42, validators=[django.core.validators.MaxValueValidator(2147483647)], verbose_name='seed')),
                ('candidates', models.PositiveIntegerField(default=27, help_text="How many sets of hyper-parameters are tried; 0 takes the algorithm's own.", validators=[django.core.validators.MaxValueValidator(1000)], verbose_name='candidates')),
                ('search', models.JSONField(editable=False, null=True)),
                ('feature_batch', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='training_runs', to='features.featurebatch', verbose_name='feature batch')),
            ],
            options={
                'verbose_name': 'training run',
                'verbose_name_plural': 'training runs',
                'ordering': ('-pk',),
                'get_latest_by': 'pk',
                'abstract': False,
            },
        ),
        migrations.AddField(
            model_name='modelversion',
            name='run',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='version', to='training.trainingrun', verbose_name='training run'),
        ),
        migrations.AddConstraint(
            model_name='modelversion',
            constraint=models.UniqueConstraint(condition=models.Q(('stage', 'champion')), fields=('stage',), name='at_most_one_champion'),
        ),
    ]
