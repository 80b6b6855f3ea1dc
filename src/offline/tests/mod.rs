//! Whole joins over small files, real ones and damaged ones.
