//! What takes spans out of the pipeline. Today that is the store.

pub mod storage;
