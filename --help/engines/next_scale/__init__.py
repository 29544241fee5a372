"""Pictures drawn scale by scale, from one cell to the whole grid."""
