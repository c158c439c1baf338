//! A learner's directory: one directory a lab with its task and the learner's `main.rs`, and the progress file.

use crate::catalog::{Lab, all};
use crate::files::{self, is_no_link, write_if_changed};
use crate::owner::AsOwner;
use crate::package::{Built, Package};
use crate::progress::Progress;
use anyhow::{Context, Result, bail, ensure};
use std::fs;
use std::path::{Path, PathBuf};

/// What `lab init` makes unless another name is given.
pub const DEFAULT: &str = "minirun-labs";
const README: &str = include_str!("../workspace/README.md");
/// Not the progress file: that a solution was shown is to go along to who grades.
const GITIGNORE: &str = "/target/\n/.lab/lock\n";

/// A directory made by `lab init`.
pub struct Workspace {
    /// Where.
    pub dir: PathBuf,
    /// The labs.
    pub labs: Vec<Lab>,
}

impl Workspace {
    /// Makes one, or completes it: no file of the learner's is touched.
    ///
    /// # Errors
    /// If the directory holds something else, or a file cannot be written.
    pub fn init(dir: &Path) -> Result<Workspace> {
        let entries = || fs::read_dir(dir).with_context(|| dir.display().to_string());
        let whole = std::path::absolute(dir)?;
        if let Some(other) = whole.ancestors().skip(1).find(|dir| is_workspace(dir)) {
            bail!(
                "{} would be in the workspace {}: go out of it first",
                dir.display(),
                other.display()
            );
        }
        let empty = !dir.exists() || entries()?.next().is_none();
        ensure!(
            empty || is_workspace(dir),
            "{} is not empty, and no workspace of labs: choose another directory, as in `{} init my-labs`",
            dir.display(),
            called()
        );
        fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let workspace = Workspace {
            dir: dir.canonicalize()?,
            labs: all()?,
        };
        let _owner = workspace.as_owner()?;
        write_if_changed(&workspace.dir.join("README.md"), README)?;
        write_if_changed(&workspace.dir.join(".gitignore"), GITIGNORE)?;
        workspace.refresh()?;
        if !workspace.progress_file().exists() {
            workspace.change(|_| Ok(()))?;
        }
        Ok(workspace)
    }

    /// The one that is meant: `--dir`, else upwards from the current directory, else `minirun-labs` in it.
    ///
    /// # Errors
    /// If there is none.
    pub fn find(dir: Option<&Path>) -> Result<Workspace> {
        let workspace = Workspace::found(dir, |dir, _| is_workspace(dir))?;
        // A newer program may have more labs, or better words. What a learner did to our files stops nobody.
        if let Err(error) = workspace.refresh() {
            eprintln!("note: {error:#}");
        }
        Ok(workspace)
    }

    /// The same, to be left as it is. The labs' directories, handed in without the rest, are enough.
    ///
    /// # Errors
    /// If there is none.
    pub fn find_to_read(dir: Option<&Path>) -> Result<Workspace> {
        Workspace::found(dir, |dir, labs| {
            is_workspace(dir) || labs.iter().any(|lab| dir.join(&lab.dir).is_dir())
        })
    }

    fn found(dir: Option<&Path>, is_one: impl Fn(&Path, &[Lab]) -> bool) -> Result<Workspace> {
        let labs = all()?;
        let is_one = |dir: &PathBuf| is_one(dir, &labs);
        let here = |dir: &Path| [dir.to_owned(), dir.join(DEFAULT)].into_iter().find(is_one);
        let found = match dir {
            Some(dir) => here(dir).with_context(|| {
                format!(
                    "{} is no workspace: `{} init {0}` makes it one",
                    dir.display(),
                    called()
                )
            })?,
            None => {
                let current = std::env::current_dir()?;
                let mut upwards = current.ancestors().map(Path::to_owned);
                let found = upwards.find(is_one).or_else(|| here(&current));
                found.with_context(|| {
                    format!("there is no workspace here: `{} init` makes one, in the directory {DEFAULT}", called())
                })?
            }
        };
        Ok(Workspace {
            dir: found.canonicalize()?,
            labs,
        })
    }

    /// Writes what is ours; of the learner's files only those that are not there.
    fn refresh(&self) -> Result<()> {
        let _owner = self.as_owner()?;
        let ours = self.dir.join(".lab");
        if !ours.is_dir() {
            fs::create_dir(&ours).with_context(|| ours.display().to_string())?; // git does not bring it along
        }
        let programs = self
            .labs
            .iter()
            .map(|lab| (lab.name().to_owned(), format!("{}/main.rs", lab.dir)));
        self.package()
            .write_manifest(&programs.collect::<Vec<_>>())?;
        for lab in &self.labs {
            write_if_changed(
                &self.dir.join(&lab.dir).join("README.md"),
                lab.file("README.md")?,
            )?;
            // What is there is the learner's, whatever it is.
            if fs::symlink_metadata(self.source(lab)).is_err() {
                write_if_changed(&self.source(lab), lab.stub()?)?;
            }
        }
        Ok(())
    }

    /// The learner's file.
    pub fn source(&self, lab: &Lab) -> PathBuf {
        self.dir.join(&lab.dir).join("main.rs")
    }

    /// The same, as short as it can be said.
    pub fn shown(&self, lab: &Lab) -> String {
        let source = self.source(lab);
        let current = std::env::current_dir().unwrap_or_default();
        source
            .strip_prefix(current)
            .unwrap_or(&source)
            .display()
            .to_string()
    }

    /// The package of the learner's programs.
    pub fn package(&self) -> Package {
        Package::at(&self.dir, None)
    }

    /// Builds a learner's program.
    ///
    /// # Errors
    /// If cargo cannot be run.
    pub fn build(&self, lab: &Lab) -> Result<Built> {
        let mut built = self.package().build(&[lab.name()])?;
        built
            .remove(lab.name())
            .context("cargo has built something else")
    }

    /// How far the learner is.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn progress(&self) -> Result<Progress> {
        let _owner = self.as_owner()?;
        Progress::read(&self.progress_file())
    }

    /// Changes it. Two commands at once, as `lab watch` and `lab hint`, do so one after the other.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn change<T>(&self, change: impl FnOnce(&mut Progress) -> Result<T>) -> Result<T> {
        let _owner = self.as_owner()?;
        is_no_link(&self.dir.join(".lab"))?;
        let _lock = files::lock(&self.dir.join(".lab/lock"), || ())?;
        let mut progress = self.progress()?;
        let answer = change(&mut progress)?;
        progress.write(&self.progress_file())?;
        Ok(answer)
    }

    fn progress_file(&self) -> PathBuf {
        self.dir.join(".lab/progress.json")
    }

    /// Until it is dropped, files are read and written by this thread as the directory's owner would, also if we are
    /// root.
    ///
    /// # Errors
    /// If root may not.
    pub fn as_owner(&self) -> Result<AsOwner> {
        AsOwner::of(&self.dir)
    }

    /// The first lab that is not passed. One that this host could not tell about waits until the others are.
    pub fn next(&self, progress: &Progress) -> Option<&Lab> {
        let open = || {
            let mut labs = self.labs.iter();
            std::iter::from_fn(move || labs.find(|lab| !progress.has_passed(lab.name())))
        };
        let mut tellable = open().filter(|lab| !progress.was_skipped(lab.name()));
        tellable.next().or_else(|| open().next())
    }
}

/// By the manifest, which a clone by git has, too.
fn is_workspace(dir: &Path) -> bool {
    let manifest = files::read(&dir.join("Cargo.toml")).unwrap_or_default();
    String::from_utf8_lossy(&manifest).contains("name = \"exercises\"")
}

/// How we are called: in the clone of minirun cargo does it, which tells by the environment.
pub fn called() -> &'static str {
    match std::env::var("CARGO_PKG_NAME") {
        Ok(package) if package == "lab" => "cargo lab",
        _ => "lab",
    }
}
