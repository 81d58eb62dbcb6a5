//! Tiers: the risk of one tool, and the ceiling of one credential.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The risk of a tool; as a *ceiling*, the highest risk that a credential may use.
///
/// The order is the meaning: a credential with ceiling `c` may use a tool of tier `t`
/// if and only if `t <= c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Looks, and changes nothing.
    Read,
    /// Changes what can be changed back: files, processes, services.
    Operate,
    /// Destroys, or takes away a way back.
    Danger,
}

impl Tier {
    /// Every tier, from harmless to dangerous.
    pub const ALL: [Self; 3] = [Self::Read, Self::Operate, Self::Danger];

    /// The word that is used in files, answers and the record.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Operate => "operate",
            Self::Danger => "danger",
        }
    }

    /// The short role name of this ceiling, as the tokens of host servers have it.
    pub const fn role(self) -> &'static str {
        match self {
            Self::Read => "ro",
            Self::Operate => "rw",
            Self::Danger => "danger",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A word that names no tier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown tier `{word}`: use read, operate or danger")]
pub struct UnknownTier {
    /// The word that was given.
    pub word: String,
}

impl FromStr for Tier {
    type Err = UnknownTier;

    fn from_str(word: &str) -> Result<Self, UnknownTier> {
        Self::ALL
            .into_iter()
            .find(|tier| tier.as_str() == word || tier.role() == word)
            .ok_or_else(|| UnknownTier { word: word.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ceiling_admits_its_own_tier_and_lower_ones_only() {
        assert!(Tier::Read <= Tier::Operate);
        assert!(Tier::Danger > Tier::Operate);
    }

    #[test]
    fn words_and_roles_parse_and_others_do_not() {
        for tier in Tier::ALL {
            assert_eq!(tier.as_str().parse(), Ok(tier));
            assert_eq!(tier.role().parse(), Ok(tier));
        }
        assert!("READ".parse::<Tier>().is_err());
        assert!("".parse::<Tier>().is_err());
    }
}
