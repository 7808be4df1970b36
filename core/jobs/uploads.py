"""Jobs that work on an uploaded file: how many files and bytes are kept, of a user and in all, and until when."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import ClassVar, Self

from django.conf import settings
from django.core.files.storage import default_storage
from django.db import models, transaction
from django.db.models import Count, Q, QuerySet, Sum
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from core.advisory_locks import AdvisoryLock, lock
from core.errors import Conflict, TooLarge
from core.file_names import GeneratedName
from core.jobs.model import Job
from core.jobs.recovery import kinds


class UploadJob(Job):
    """A job with an uploaded file, which the rows of its reruns share: it is deleted when the last lets go of it."""

    inputs: ClassVar[tuple[str, ...]] = ("upload", "upload_bytes", "created_by", "is_owned")

    upload = models.FileField(gettext_lazy("upload"), upload_to=GeneratedName("uploads"), blank=True, max_length=300)
    # Null where the row has no file, or has let go of it.
    upload_bytes = models.PositiveBigIntegerField(gettext_lazy("bytes of the upload"), null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=gettext_lazy("by"), null=True, blank=True, on_delete=models.SET_NULL
    )

    # Whether a user sent it, who may be deleted since; else it is everybody's who is not signed in.
    is_owned = models.BooleanField(default=False, editable=False)

    class Meta(Job.Meta):
        abstract = True

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Store the file, and run the block that saves the row in a transaction; without a row no file stays.

        Raises Conflict or TooLarge where the file would be more than may be kept.
        """
        self.upload_bytes, self.is_owned = self.upload.size, self.created_by is not None
        # What is refused anyway is not stored first; of two at once the second counts the first below.
        self.check_quota(self.upload_bytes)
        self.upload.save(str(self.upload.name), self.upload.file, save=False)
        try:
            with transaction.atomic():
                lock(AdvisoryLock.UPLOADS)
                self.check_quota(self.upload_bytes)
                yield
        except BaseException:
            self.upload.delete(save=False)
            raise

    def check_quota(self, byte_count: int) -> None:
        """Raise Conflict or TooLarge where so many more bytes, and a new row's file, would be more than may be kept."""
        count = own_bytes = all_bytes = 0
        is_own = Q(created_by=self.created_by_id, is_owned=self.is_owned)
        for files in kept_files():
            kept = files.aggregate(
                count=Count("pk", filter=is_own),
                own=Sum("upload_bytes", filter=is_own, default=0),
                all=Sum("upload_bytes", default=0),
            )
            count, own_bytes, all_bytes = count + kept["count"], own_bytes + kept["own"], all_bytes + kept["all"]
        if self.pk is None and 0 < settings.UPLOADS_PER_USER <= count:
            text = _("%(count)s of your uploaded files are kept, and at most %(most)s may be.")
            raise Conflict(f"{text % {'count': count, 'most': settings.UPLOADS_PER_USER}} {_remedy()}", field="file")
        own_text = _("This file has %(size)s; your uploaded files have %(kept)s, and may have %(most)s.")
        all_text = _("This file has %(size)s; the uploaded files of all users have %(kept)s, and may have %(most)s.")
        for text, kept_bytes, most in (
            (own_text, own_bytes, settings.UPLOAD_BYTES_PER_USER),
            (all_text, all_bytes, settings.UPLOAD_BYTES_IN_ALL),
        ):
            if 0 < most < kept_bytes + byte_count:
                sizes = {"size": byte_count, "kept": kept_bytes, "most": most}
                in_words = {name: filesizeformat(size) for name, size in sizes.items()}
                raise TooLarge(f"{text % in_words} {_remedy()}", field="file")

    def rerun(self) -> Self:
        """Return a new queued row that has the same file; raises Conflict where that is deleted."""
        with transaction.atomic():
            lock(AdvisoryLock.UPLOADS)
            if self.upload and not self.as_queryset().filter(upload_bytes__isnull=False).exists():
                raise Conflict(_("The uploaded file is deleted. Upload it again."))
            return super().rerun()

    def release_upload(self) -> None:
        """Let go of the file, which is deleted unless another row has it; in a transaction that holds UPLOADS."""
        if self.upload_bytes is None:
            return
        self.upload_bytes = None
        self.save(update_fields=["upload_bytes"])
        name = str(self.upload.name)
        if not type(self)._default_manager.filter(upload=name, upload_bytes__isnull=False).exists():
            transaction.on_commit(partial(default_storage.delete, name))


def kept_files() -> Iterator[QuerySet[UploadJob]]:
    """Yield, of each kind of job, one row for each file that is kept."""
    for model in kinds():
        if issubclass(model, UploadJob):
            rows = model._default_manager.filter(upload_bytes__isnull=False)
            yield model._default_manager.filter(pk__in=rows.order_by("upload").distinct("upload").values("pk"))


def _remedy() -> str:
    days = settings.SCORING_KEPT_DAYS
    remedy = _("Archive datasets and delete scoring jobs that are no longer needed.")
    wait = ngettext(
        "Scored files are deleted after %(days)s day.", "Scored files are deleted after %(days)s days.", days
    )
    return f"{remedy} {wait % {'days': days}}" if days else remedy
