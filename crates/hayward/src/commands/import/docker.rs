//! `docker run …` as the command of a server: its image, environment and folders.

use serde_json::{Map, Value, json};

use super::plan::Plan;

/// Options without a value that mean nothing here: every container is talked to over its standard input, and goes with its end.
const SWITCHES: [&str; 9] =
    ["-i", "--interactive", "-t", "--tty", "--rm", "--init", "-q", "--quiet", "--read-only"];

/// Options with a value that are not taken over.
const OTHERS: [&str; 27] = [
    "--name",
    "--network",
    "--net",
    "-p",
    "--publish",
    "-u",
    "--user",
    "-w",
    "--workdir",
    "-m",
    "--memory",
    "--cpus",
    "--env-file",
    "--platform",
    "--pull",
    "-h",
    "--hostname",
    "-l",
    "--label",
    "--add-host",
    "--cap-add",
    "--cap-drop",
    "--security-opt",
    "--tmpfs",
    "--restart",
    "--log-driver",
    "--device",
];

/// What a `docker run` says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    /// The image.
    pub(super) image: String,
    /// What follows it.
    pub(super) args: Vec<String>,
    /// Variables with their values; without one it is whatever the program that starts it has.
    pub(super) env: Vec<(String, Option<String>)>,
    /// Folders of the machine, and whether they may be written.
    pub(super) mounts: Vec<(String, bool)>,
    /// What isn't taken over.
    pub(super) left_out: Vec<String>,
}

/// Reads the words behind the program; none if they are no `docker run`, or one that isn't understood.
pub(super) fn read(words: &[String]) -> Option<Run> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let (["container", "run", words @ ..] | ["run", words @ ..]) = words.as_slice() else { return None };
    let (mut run, mut words) = (Run::default(), words.iter().copied());
    while let Some(word) = words.next() {
        if !word.starts_with('-') {
            word.clone_into(&mut run.image);
            run.args = words.map(str::to_owned).collect();
            return Some(run);
        }
        if is_switch(word) {
            continue;
        }
        let (option, value) = match word.split_once('=') {
            Some((option, value)) if word.starts_with("--") => (option, value),
            _ => (word, words.next()?),
        };
        match option {
            "-e" | "--env" => run.env.push(match value.split_once('=') {
                Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
                None => (value.to_owned(), None),
            }),
            "-v" | "--volume" => run.mount(volume(value), word, value),
            "--mount" => run.mount(bind(value), word, value),
            option if OTHERS.contains(&option) => run.left_out.push(format!("{option} {value}")),
            _ => return None,
        }
    }
    None
}

impl Run {
    fn mount(&mut self, mount: Option<(String, bool)>, option: &str, value: &str) {
        match mount {
            Some(mount) => self.mounts.push(mount),
            None => self.left_out.push(format!("{option} {value}")),
        }
    }

    /// Puts it into the document of a server, but for its environment; what isn't taken over is told.
    pub(super) fn write(&self, document: &mut Map<String, Value>, name: &str, plan: &mut Plan) {
        document.insert("dockerImage".to_owned(), json!(self.image));
        if !self.args.is_empty() {
            document.insert("args".to_owned(), json!(self.args));
        }
        if !self.mounts.is_empty() {
            let mount = |(path, writable): &(String, bool)| json!({ "path": path, "writable": writable });
            document.insert("mounts".to_owned(), self.mounts.iter().map(mount).collect());
        }
        for option in &self.left_out {
            plan.note(format!("server `{name}`: `{option}` of `docker run` is not taken over"));
        }
    }
}

/// Whether it is an option without a value, or several of them in one word, e.g. `-it`.
fn is_switch(word: &str) -> bool {
    let is_known = |word: &str| SWITCHES.contains(&word);
    is_known(word)
        || (word.len() > 2
            && !word.starts_with("--")
            && word[1..].chars().all(|letter| is_known(&format!("-{letter}"))))
}

/// `/path:/path`, `/path:/path:ro`: a folder that is at the same place inside.
fn volume(value: &str) -> Option<(String, bool)> {
    let mut parts = value.split(':');
    let (outside, inside, how) = (parts.next()?, parts.next()?, parts.next().unwrap_or("rw"));
    let is_writable = match how {
        "ro" => false,
        "rw" => true,
        _ => return None,
    };
    same(outside, inside).filter(|_| parts.next().is_none()).map(|path| (path, is_writable))
}

/// `type=bind,src=/path,dst=/path,readonly`.
fn bind(value: &str) -> Option<(String, bool)> {
    let (mut outside, mut inside, mut is_bind, mut is_writable) = (None, None, false, true);
    for part in value.split(',') {
        match part.split_once('=').unwrap_or((part, "true")) {
            ("type", kind) => is_bind = kind == "bind",
            ("src" | "source", path) => outside = Some(path),
            ("dst" | "destination" | "target", path) => inside = Some(path),
            ("ro" | "readonly", said) => is_writable = !["true", "1"].contains(&said),
            _ => return None,
        }
    }
    same(outside?, inside?).filter(|_| is_bind).map(|path| (path, is_writable))
}

/// A path that is the same outside and inside.
fn same(outside: &str, inside: &str) -> Option<String> {
    (outside == inside && outside.starts_with('/')).then(|| outside.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(words: &str) -> Option<Run> {
        read(&words.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn an_image_comes_with_its_environment_its_folders_and_what_follows_it() {
        let read = run("run -it --rm -e A=1 --env=B --env C=x=y -v /srv:/srv:ro --mount \
                        type=bind,src=/data,dst=/data --name n --network=host ghcr.io/x/y:1 stdio --v")
        .unwrap();
        let some = |text: &str| Some(text.to_owned());
        let env = [("A", some("1")), ("B", None), ("C", some("x=y"))];
        let expect = Run {
            image: "ghcr.io/x/y:1".to_owned(),
            args: vec!["stdio".to_owned(), "--v".to_owned()],
            env: env.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            mounts: vec![("/srv".to_owned(), false), ("/data".to_owned(), true)],
            left_out: vec!["--name n".to_owned(), "--network host".to_owned()],
        };
        assert_eq!(read, expect);
        assert_eq!(run("container run x").unwrap().image, "x");
    }

    #[test]
    fn folders_that_are_elsewhere_inside_and_volumes_are_told() {
        for (words, left_out) in [
            ("run -v /a:/b x", "-v /a:/b"),
            ("run -v data:/data x", "-v data:/data"),
            ("run -v /a:/a:z x", "-v /a:/a:z"),
            ("run --mount type=volume,src=/a,dst=/a x", "--mount type=volume,src=/a,dst=/a"),
            ("run --mount type=bind,src=/a,dst=/b x", "--mount type=bind,src=/a,dst=/b"),
        ] {
            let read = run(words).unwrap();
            assert_eq!((read.mounts.len(), read.left_out), (0, vec![left_out.to_owned()]), "{words}");
        }
        assert_eq!(
            run("run --mount type=bind,src=/a,dst=/a,readonly x").unwrap().mounts,
            [("/a".to_owned(), false)]
        );
    }

    #[test]
    fn what_is_not_understood_is_no_run() {
        for words in [
            "exec -i x",
            "run",
            "run -it",
            "run --privileged x y",
            "run --entrypoint /bin/sh x -c y",
            "run -e",
            "compose run x",
        ] {
            assert_eq!(run(words), None, "{words}");
        }
    }
}
