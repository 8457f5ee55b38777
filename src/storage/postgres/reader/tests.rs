//! The read side: which parts of a database questions touch, and what becomes of questions when
//! the server does not answer.

mod faults;
mod feed_end;
mod feed_plans;
mod filled;
mod plans;
