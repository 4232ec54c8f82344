"""The feature names that pending records refer to, also those of another configuration."""

from __future__ import annotations

from collections.abc import Iterable

from models.stores.base import PendingStore
from models.types import Features
from stream.messages import FeatureFields, Pending, decode_pending_fields


class SavedFields:
    """Names the values of pending records, whichever configuration wrote them."""

    def __init__(self, store: PendingStore) -> None:
        self._store = store
        self._fields: dict[int, FeatureFields] = {}

    async def know(self, records: Iterable[bytes | None]) -> None:
        """Load the names behind these records, if any are new."""
        used = {decode_pending_fields(record) for record in records if record is not None}
        if not used <= self._fields.keys():
            saved = await self._store.load_fields()
            self._fields = {key: FeatureFields(names) for key, names in saved.items()}

    def features(self, pending: Pending) -> Features:
        """Give a known record's features as they were scored."""
        return self._fields[pending.fields].features(pending.values)
