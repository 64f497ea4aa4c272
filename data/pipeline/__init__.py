"""From records to packed batches: `batches.Batches` of a layout that keeps `layout.Layout`."""
