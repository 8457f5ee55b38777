//! The read side over a database that is filled with SQL: which parts of it questions touch.

mod filled;
mod plans;
