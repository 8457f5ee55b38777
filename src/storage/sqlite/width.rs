//! How far the starts of a block's spans lie apart. Blocks are found by their latest start; those
//! of one class that hold spans of some time begin at most the class's width later, so that a
//! search by time looks at few blocks in vain.

const NS_PER_SECOND: i64 = 1_000_000_000;

/// The widest of each class, ns. A class is a number on disk: it never becomes wider.
pub(super) const WIDTHS_NS: [i64; 4] = [
    NS_PER_SECOND,
    10 * NS_PER_SECOND,
    60 * NS_PER_SECOND,
    600 * NS_PER_SECOND,
];

/// The class of a width; `None` when no block may be that wide.
pub(super) fn class_of(width_ns: i64) -> Option<usize> {
    WIDTHS_NS.iter().position(|widest| width_ns <= *widest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_up_to_the_widest_has_a_class() {
        assert_eq!(class_of(0), Some(0));
        assert_eq!(class_of(NS_PER_SECOND + 1), Some(1));
        assert_eq!(class_of(600 * NS_PER_SECOND), Some(3));
        assert_eq!(class_of(600 * NS_PER_SECOND + 1), None);
    }
}
