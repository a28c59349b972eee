"""From trained numbers to integers on a target's grid."""
