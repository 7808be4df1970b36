import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('training', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='Alert',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=40, verbose_name='kind')),
                ('subject', models.CharField(max_length=100, verbose_name='subject')),
                ('text', models.TextField(verbose_name='text')),
                ('raised_at', models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name='raised')),
                ('last_seen_at', models.DateTimeField(default=django.utils.timezone.now, verbose_name='last seen')),
                ('resolved_at', models.DateTimeField(null=True, verbose_name='resolved')),
                ('notify_at', models.DateTimeField(editable=False, null=True)),
                ('tries', models.PositiveSmallIntegerField(default=0, editable=False)),
            ],
            options={
                'verbose_name': 'alert',
                'verbose_name_plural': 'alerts',
                'ordering': ('-pk',),
                'constraints': [models.UniqueConstraint(condition=models.Q(('resolved_at', None)), fields=('kind', 'subject'), name='one_open_alert_for_a_reason')],
            },
        ),
        migrations.CreateModel(
            name='DriftCheck',
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
                ('drifted', models.BooleanField(editable=False, null=True, verbose_name='drifted')),
                ('window_size', models.PositiveIntegerField(editable=False, null=True, verbose_name='window')),
                ('window_from', models.DateTimeField(editable=False, null=True, verbose_name='from')),
                ('window_to', models.DateTimeField(editable=False, null=True, verbose_name='to')),
                ('reference_size', models.PositiveIntegerField(editable=False, null=True, verbose_name='reference')),
                ('backend', models.CharField(blank=True, editable=False, max_length=10, verbose_name='backend')),
                ('false_alarm_rate', models.FloatField(editable=False, null=True, verbose_name='false-alarm rate')),
                ('version', models.ForeignKey(editable=False, null=True, on_delete=django.db.models.deletion.PROTECT, to='training.modelversion', verbose_name='model')),
            ],
            options={
                'verbose_name': 'drift check',
                'verbose_name_plural': 'drift checks',
                'ordering': ('-pk',),
                'get_latest_by': 'pk',
                'abstract': False,
            },
        ),
        migrations.CreateModel(
            name='FeatureDrift',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=100, verbose_name='feature')),
                ('test', models.CharField(max_length=40, verbose_name='test')),
                ('statistic', models.FloatField(verbose_name='statistic')),
                ('p_value', models.FloatField(verbose_name='p-value')),
                ('threshold', models.FloatField(verbose_name='threshold')),
                ('effect', models.FloatField(verbose_name='effect size')),
                ('drifted', models.BooleanField(verbose_name='drifted')),
                ('drift_check', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='features', to='monitoring.driftcheck')),
            ],
            options={
                'verbose_name': 'feature drift',
                'verbose_name_plural': 'feature drifts',
                'ordering': ('pk',),
                'constraints': [models.UniqueConstraint(fields=('drift_check', 'name', 'test'), name='one_test_per_feature_and_check')],
            },
        ),
    ]
