//! Names that a careless reader takes for each other.

/// Whether some reader takes one for the other, because it doesn't look at case, or folds letters of other alphabets into those
/// of names.
pub fn is_alike(one: &str, other: &str) -> bool {
    let folded = |text: &str| {
        let upper: String = text.chars().flat_map(char::to_uppercase).collect();
        upper.to_lowercase()
    };
    if one.is_ascii() && other.is_ascii() {
        return one.eq_ignore_ascii_case(other);
    }
    one.len() <= 4 * other.len() && folded(one) == folded(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_letters_that_fold_into_others_make_no_other_name() {
        assert!(is_alike("_meta", "_META") && is_alike("progressToken", "ProgressToken"));
        assert!(is_alike("Ke\u{17f}", "\u{212a}es"));
        assert!(!is_alike("a", "b") && !is_alike("meta", "_meta"));
    }
}
