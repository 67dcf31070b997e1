//! What a CI system says of a job in its environment, without proof.
//!
//! Any process can have these variables, so the name is worth as much as the job's word. It
//! describes a job for people; whoever uses it sees to it that it gives nothing.
//!
//! Sources: the predefined variables of GitHub Actions, GitLab CI/CD, Buildkite, CircleCI and
//! Jenkins, as their documentation lists them.
use gateway_core::{Assurance, Principal};
use serde::Deserialize;

/// The longest value that is taken, in bytes.
const VALUE_BYTES_MAX: usize = 512;

/// A CI system whose variables are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CiSystem {
    /// GitHub Actions: `ci:github:OWNER/REPOSITORY@REF`.
    Github,
    /// GitLab CI/CD: `ci:gitlab:GROUP/PROJECT`.
    Gitlab,
    /// Buildkite: `ci:buildkite:ORGANIZATION/PIPELINE`.
    Buildkite,
    /// CircleCI: `ci:circleci:USER/REPOSITORY`.
    Circleci,
    /// Jenkins: `ci:jenkins:JOB`.
    Jenkins,
}

impl CiSystem {
    /// The variables that name a job: first the one that is there in every job of this system, then
    /// those that the name is made of.
    #[must_use]
    pub const fn variables(self) -> &'static [&'static str] {
        match self {
            CiSystem::Github => &["GITHUB_ACTIONS", "GITHUB_REPOSITORY", "GITHUB_REF"],
            CiSystem::Gitlab => &["GITLAB_CI", "CI_PROJECT_PATH"],
            CiSystem::Buildkite => &[
                "BUILDKITE",
                "BUILDKITE_ORGANIZATION_SLUG",
                "BUILDKITE_PIPELINE_SLUG",
            ],
            CiSystem::Circleci => &[
                "CIRCLECI",
                "CIRCLE_PROJECT_USERNAME",
                "CIRCLE_PROJECT_REPONAME",
            ],
            CiSystem::Jenkins => &["JENKINS_URL", "JOB_NAME"],
        }
    }

    /// Whose job it says it is, by variables of its environment. `None`: it says nothing, or
    /// nothing that could be a name.
    #[must_use]
    pub fn principal(self, environment: &[(String, String)]) -> Option<Principal> {
        let value = |name: &str| {
            let (_, value) = environment.iter().find(|(other, _)| other == name)?;
            let usable = |c: char| !c.is_control() && !c.is_whitespace();
            let fits = !value.is_empty() && value.len() <= VALUE_BYTES_MAX;
            (fits && value.chars().all(usable)).then_some(value.as_str())
        };
        let (present, parts) = self.variables().split_first()?;
        value(present)?;
        let first = value(parts.first()?)?;
        let second = parts.get(1).map(|name| value(name));
        let id = match (self, second) {
            (_, Some(None)) => return None,
            (CiSystem::Github, Some(Some(reference))) => format!("ci:github:{first}@{reference}"),
            (CiSystem::Buildkite, Some(Some(pipeline))) => {
                format!("ci:buildkite:{first}/{pipeline}")
            }
            (CiSystem::Circleci, Some(Some(repository))) => {
                format!("ci:circleci:{first}/{repository}")
            }
            (CiSystem::Gitlab, _) => format!("ci:gitlab:{first}"),
            (CiSystem::Jenkins, _) => format!("ci:jenkins:{first}"),
            _ => return None,
        };
        Some(Principal {
            id: id.into(),
            assurance: Assurance::Asserted,
            groups: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(system: CiSystem, variables: &[(&str, &str)]) -> Option<String> {
        let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        let environment: Vec<_> = variables.iter().map(pair).collect();
        let principal = system.principal(&environment)?;
        assert_eq!(principal.assurance, Assurance::Asserted);
        Some(principal.id.to_string())
    }

    #[test]
    fn each_system_names_its_jobs() {
        for (system, variables, id) in [
            (
                CiSystem::Github,
                &[
                    ("GITHUB_ACTIONS", "true"),
                    ("GITHUB_REPOSITORY", "acme/api"),
                    ("GITHUB_REF", "refs/heads/main"),
                ][..],
                "ci:github:acme/api@refs/heads/main",
            ),
            (
                CiSystem::Gitlab,
                &[("GITLAB_CI", "true"), ("CI_PROJECT_PATH", "group/project")],
                "ci:gitlab:group/project",
            ),
            (
                CiSystem::Buildkite,
                &[
                    ("BUILDKITE", "true"),
                    ("BUILDKITE_ORGANIZATION_SLUG", "acme"),
                    ("BUILDKITE_PIPELINE_SLUG", "api"),
                ],
                "ci:buildkite:acme/api",
            ),
            (
                CiSystem::Circleci,
                &[
                    ("CIRCLECI", "true"),
                    ("CIRCLE_PROJECT_USERNAME", "acme"),
                    ("CIRCLE_PROJECT_REPONAME", "api"),
                ],
                "ci:circleci:acme/api",
            ),
            (
                CiSystem::Jenkins,
                &[("JENKINS_URL", "https://j"), ("JOB_NAME", "folder/api")],
                "ci:jenkins:folder/api",
            ),
        ] {
            assert_eq!(says(system, variables).as_deref(), Some(id));
            for missing in 0..variables.len() {
                let mut some = variables.to_vec();
                some.remove(missing);
                assert_eq!(says(system, &some), None, "{system:?} without {missing}");
            }
        }
    }

    #[test]
    fn what_is_no_name_is_none() {
        let long = "x".repeat(VALUE_BYTES_MAX + 1);
        for value in ["", "a b", "a\nb", "a\u{0}b", "\u{1b}[2J", &long] {
            let variables = [("GITLAB_CI", "true"), ("CI_PROJECT_PATH", value)];
            assert_eq!(says(CiSystem::Gitlab, &variables), None, "{value:?}");
        }
    }
}
