"""The feature names that pending records refer to, also those of another configuration."""

from __future__ import annotations

from collections.abc import Iterable

from models.stores.base import PendingStore
from models.types import Features
from stream.messages import FIELDS_MARK, FeatureFields, Pending, decode_pending_fields


class SavedFields:
    """Names the values of pending records, whichever configuration wrote them."""

    def __init__(self, store: PendingStore) -> None:
        self._store = store
        self._fields: dict[int, FeatureFields] = {}
        self._marks: set[bytes] = set()

    async def know(self, records: Iterable[bytes | None]) -> None:
        """Load the names behind these records, if any are new."""
        used = {record[FIELDS_MARK]: record for record in records if record is not None}
        if used.keys() <= self._marks:
            return
        if not set(map(decode_pending_fields, used.values())) <= self._fields.keys():
            saved = await self._store.load_fields()
            self._fields = {key: FeatureFields(names) for key, names in saved.items()}
        self._marks.update(used)

    def features(self, pending: Pending) -> Features:
        """Give a known record's features as they were scored."""
        return self._fields[pending.fields].features(pending.values)
