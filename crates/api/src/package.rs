//! Packages with an exact version: anything else may be another program tomorrow.

use crate::definition::Runtime;

/// Characters of a package and its version: what npm takes, and more than the Python index does.
const NAME_CHARS_MAX: usize = 214;

/// Why something is no exact version of a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackageError {
    /// It is no name of a package.
    Name,
    /// It has no version, or one that may be another one tomorrow; this is how it would be said.
    Unpinned {
        /// E.g. `x@1.2.3`.
        example: String,
    },
}

/// What stands between a name and its version.
pub fn separator(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Node => "@",
        Runtime::Python => "==",
    }
}

/// The name and the version of `name@1.2.3` of npm, or of `name==1.2.3` of Python.
///
/// # Errors
/// If it is no name, or no exact version is said.
pub fn pinned(said: &str, runtime: Runtime) -> Result<(&str, &str), PackageError> {
    let (name, version) = split(runtime, said);
    if !is_name(runtime, name) {
        return Err(PackageError::Name);
    }
    let version = version.filter(|version| is_exact(runtime, version));
    let unpinned = || PackageError::Unpinned { example: format!("{name}{}1.2.3", separator(runtime)) };
    Ok((name, version.ok_or_else(unpinned)?))
}

fn split(runtime: Runtime, said: &str) -> (&str, Option<&str>) {
    let at = match runtime {
        // The first of a scoped name is its scope's.
        Runtime::Node => said.char_indices().skip(1).find(|(_, it)| *it == '@').map(|(at, _)| at),
        Runtime::Python => said.find(['=', '<', '>', '~', '!', ' ', '[', '@', ';']),
    };
    let Some(at) = at else { return (said, None) };
    (&said[..at], said[at..].strip_prefix(separator(runtime)))
}

fn is_name(runtime: Runtime, name: &str) -> bool {
    let is_part = |part: &str| {
        part.starts_with(|it: char| it.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
    };
    let is_name = match (runtime, name.strip_prefix('@')) {
        (Runtime::Node, Some(scoped)) => {
            scoped.split_once('/').is_some_and(|(scope, name)| is_part(scope) && is_part(name))
        }
        (Runtime::Node | Runtime::Python, _) => is_part(name),
    };
    is_name && name.len() <= NAME_CHARS_MAX
}

/// Whether it is one version, and no range, tag, file or address.
fn is_exact(runtime: Runtime, version: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = version.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-+!_".contains(&byte));
    let begins_well = match runtime {
        Runtime::Node => {
            let core = version.split(['-', '+']).next().unwrap_or_default();
            core.split('.').count() == 3 && core.split('.').all(is_number)
        }
        Runtime::Python => version.starts_with(|it: char| it.is_ascii_digit()),
    };
    is_plain && begins_well && version.len() <= NAME_CHARS_MAX
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_has_an_exact_version() {
        for (said, runtime, name, version) in [
            ("left-pad@1.3.0", Runtime::Node, "left-pad", "1.3.0"),
            ("@scope/name@2026.1.14", Runtime::Node, "@scope/name", "2026.1.14"),
            ("x@1.0.0-rc.1+b", Runtime::Node, "x", "1.0.0-rc.1+b"),
            ("x@1.0.0-next.1", Runtime::Node, "x", "1.0.0-next.1"),
            ("mcp-server-time==2026.1.26", Runtime::Python, "mcp-server-time", "2026.1.26"),
            ("x==1!2.0.post1", Runtime::Python, "x", "1!2.0.post1"),
        ] {
            assert_eq!(pinned(said, runtime), Ok((name, version)), "{said}");
        }
    }

    #[test]
    fn what_may_be_another_program_tomorrow_is_refused_with_a_way_out() {
        for (said, runtime, example) in [
            ("x", Runtime::Node, "x@1.2.3"),
            ("@s/x", Runtime::Node, "@s/x@1.2.3"),
            ("x@latest", Runtime::Node, "x@1.2.3"),
            ("x@^1.2.3", Runtime::Node, "x@1.2.3"),
            ("x@1.2", Runtime::Node, "x@1.2.3"),
            ("x@file:../y", Runtime::Node, "x@1.2.3"),
            ("x@npm:y@1.0.0", Runtime::Node, "x@1.2.3"),
            ("x", Runtime::Python, "x==1.2.3"),
            ("x[a]==1.0", Runtime::Python, "x==1.2.3"),
            ("x>=1", Runtime::Python, "x==1.2.3"),
            ("x==1.*", Runtime::Python, "x==1.2.3"),
            ("x===1.0", Runtime::Python, "x==1.2.3"),
            ("x @ https://y.example/x.whl", Runtime::Python, "x==1.2.3"),
        ] {
            let example = example.to_owned();
            assert_eq!(pinned(said, runtime), Err(PackageError::Unpinned { example }), "{said}");
        }
        for (said, runtime) in [
            ("", Runtime::Node),
            ("--prefix=/@1.0.0", Runtime::Node),
            ("../x@1.0.0", Runtime::Node),
            ("@s@1.0.0", Runtime::Node),
            ("@s/x/y@1.0.0", Runtime::Node),
            ("-r==1.0", Runtime::Python),
        ] {
            assert_eq!(pinned(said, runtime), Err(PackageError::Name), "{said}");
        }
    }
}
