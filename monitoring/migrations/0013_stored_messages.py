import msgspec
from django.db import migrations

import core.fields
from core.messages import Message


def join(apps, schema_editor):
    for alert in apps.get_model("monitoring", "Alert").objects.exclude(parameters={}):
        alert.message = Message(alert.message.text, alert.parameters)
        alert.save(update_fields=["message"])


def separate(apps, schema_editor):
    for alert in apps.get_model("monitoring", "Alert").objects.all():
        alert.parameters = msgspec.to_builtins(alert.message.parameters)
        alert.message = alert.message.text
        alert.save(update_fields=["message", "parameters"])


class Migration(migrations.Migration):

    dependencies = [
        ('monitoring', '0012_driftcheck_repeats_performancecheck_repeats'),
    ]

    operations = [
        migrations.AlterField(
            model_name='driftcheck',
            name='error',
            field=core.fields.MessageField(blank=True, editable=False, verbose_name='error'),
        ),
        migrations.AlterField(
            model_name='driftwatch',
            name='error',
            field=core.fields.MessageField(blank=True, editable=False, verbose_name='error'),
        ),
        migrations.AlterField(
            model_name='performancecheck',
            name='error',
            field=core.fields.MessageField(blank=True, editable=False, verbose_name='error'),
        ),
        migrations.AlterField(
            model_name='retraining',
            name='error',
            field=core.fields.MessageField(blank=True, verbose_name='error'),
        ),
        migrations.AlterField(
            model_name='alert',
            name='subject',
            field=core.fields.MessageField(verbose_name='subject'),
        ),
        migrations.RenameField(model_name='alert', old_name='text', new_name='message'),
        migrations.AlterField(
            model_name='alert',
            name='message',
            field=core.fields.MessageField(verbose_name='text'),
        ),
        migrations.RunPython(join, separate, elidable=True),
        migrations.RemoveField(model_name='alert', name='parameters'),
    ]
