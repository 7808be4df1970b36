import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        ('ingestion', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='FeatureBatch',
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
                ('dataset_revision', models.PositiveIntegerField(default=0, editable=False, verbose_name='revision of the dataset')),
                ('definition_version', models.CharField(blank=True, editable=False, max_length=20, verbose_name='definition')),
                ('row_count', models.PositiveIntegerField(editable=False, null=True, verbose_name='rows')),
                ('checksum', models.CharField(blank=True, editable=False, max_length=64, verbose_name='checksum')),
                ('is_current', models.BooleanField(default=False, editable=False, verbose_name='current')),
                ('profile', models.JSONField(editable=False, null=True, verbose_name='profile')),
                ('expired_at', models.DateTimeField(editable=False, null=True, verbose_name='expired')),
                ('dataset', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='feature_batches', to='ingestion.dataset', verbose_name='dataset')),
            ],
            options={
                'verbose_name': 'feature batch',
                'verbose_name_plural': 'feature batches',
                'ordering': ('-pk',),
                'get_latest_by': 'pk',
                'abstract': False,
                'constraints': [models.UniqueConstraint(condition=models.Q(('is_current', True)), fields=('is_current',), name='at_most_one_current_batch')],
            },
        ),
    ]
