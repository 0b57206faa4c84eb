//! The wire contracts: every element documented, and named by buf's rules.

use std::collections::BTreeSet;
use std::path::Path;

use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};
use tidegate_tidy::{assert_none, files, root};

/// The folder below which a file's path spells its package.
const INCLUDE: &str = "proto/proto";

fn contracts() -> Vec<FileDescriptorProto> {
    let paths = files(".proto")
        .into_iter()
        .map(|file| root().join(file.path));
    let mut compiler = protox::Compiler::new([root().join(INCLUDE)]).expect("the folder exists");
    compiler.include_source_info(true).include_imports(false);
    compiler
        .open_files(paths)
        .unwrap_or_else(|error| panic!("{error}"));
    let set = compiler.file_descriptor_set();
    assert!(!set.file.is_empty(), "no .proto file was found");
    set.file
}

/// One element of a contract: its name in messages, its path in the descriptor.
struct Element {
    name: String,
    path: Vec<i32>,
}

#[derive(Default)]
struct Findings {
    elements: Vec<Element>,
    misnamed: Vec<String>,
}

impl Findings {
    fn of(file: &FileDescriptorProto) -> Self {
        let mut findings = Self::default();
        let package = file.package().to_owned();
        findings.check_file(file);
        for (index, message) in (0..).zip(&file.message_type) {
            findings.message(&package, message, vec![4, index]);
        }
        for (index, values) in (0..).zip(&file.enum_type) {
            findings.values(&package, values, &[5, index]);
        }
        for (index, service) in (0..).zip(&file.service) {
            findings.service(&package, service, &[6, index]);
        }
        findings
    }

    fn check_file(&mut self, file: &FileDescriptorProto) {
        let folder = Path::new(file.name()).parent().map(Path::to_string_lossy);
        let folder = folder.unwrap_or_default().replace('/', ".");
        self.require(
            folder == file.package(),
            file.name(),
            "its folder is its package",
        );
        let version = file.package().rsplit('.').next().unwrap_or_default();
        let versioned = version
            .strip_prefix('v')
            .is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()));
        self.require(
            versioned,
            file.name(),
            "a package ends with its version, such as v1",
        );
        self.require(
            file.syntax() == "proto3",
            file.name(),
            "the syntax is proto3",
        );
    }

    fn message(&mut self, parent: &str, message: &DescriptorProto, path: Vec<i32>) {
        if message
            .options
            .as_ref()
            .is_some_and(|options| options.map_entry())
        {
            return;
        }
        let name = format!("{parent}.{}", message.name());
        self.require(is_pascal(message.name()), &name, "messages are PascalCase");
        for (index, field) in (0..).zip(&message.field) {
            let field_name = format!("{name}.{}", field.name());
            self.require(
                is_lower_snake(field.name()),
                &field_name,
                "fields are lower_snake_case",
            );
            self.add(field_name, &path, [2, index]);
        }
        for (index, choice) in (0..).zip(&message.oneof_decl) {
            // `optional` makes a hidden oneof of one field.
            if !choice.name().starts_with('_') {
                let choice_name = format!("{name}.{}", choice.name());
                let rule = "oneofs are lower_snake_case";
                self.require(is_lower_snake(choice.name()), &choice_name, rule);
                self.add(choice_name, &path, [8, index]);
            }
        }
        for (index, values) in (0..).zip(&message.enum_type) {
            self.values(&name, values, &join(&path, [4, index]));
        }
        for (index, nested) in (0..).zip(&message.nested_type) {
            self.message(&name, nested, join(&path, [3, index]));
        }
        self.elements.push(Element { name, path });
    }

    fn values(&mut self, parent: &str, values: &EnumDescriptorProto, path: &[i32]) {
        let name = format!("{parent}.{}", values.name());
        self.require(is_pascal(values.name()), &name, "enums are PascalCase");
        let prefix = format!("{}_", upper_snake(values.name()));
        for (index, value) in (0..).zip(&values.value) {
            let value_name = format!("{name}.{}", value.name());
            let rule = format!("values are UPPER_SNAKE_CASE and start with {prefix}");
            let fits = value.name().starts_with(&prefix) && is_upper_snake(value.name());
            self.require(fits, &value_name, &rule);
            self.add(value_name, path, [2, index]);
        }
        let first = values.value.first();
        let unspecified = format!("{prefix}UNSPECIFIED");
        let has_zero =
            first.is_some_and(|first| first.name() == unspecified && first.number() == 0);
        self.require(
            has_zero,
            &name,
            "the first value is <PREFIX>_UNSPECIFIED = 0",
        );
        self.elements.push(Element {
            name,
            path: path.to_owned(),
        });
    }

    fn service(&mut self, parent: &str, service: &ServiceDescriptorProto, path: &[i32]) {
        let name = format!("{parent}.{}", service.name());
        self.require(
            service.name().ends_with("Service"),
            &name,
            "services end in Service",
        );
        for (index, rpc) in (0..).zip(&service.method) {
            let rpc_name = format!("{name}.{}", rpc.name());
            self.require(is_pascal(rpc.name()), &rpc_name, "rpcs are PascalCase");
            for (found, suffix) in [
                (rpc.input_type(), "Request"),
                (rpc.output_type(), "Response"),
            ] {
                let wanted = format!("{}{suffix}", rpc.name());
                let found = found.rsplit('.').next().unwrap_or_default();
                let rule = format!("it uses {found}; a message of its own is named {wanted}");
                self.require(found == wanted, &rpc_name, &rule);
            }
            self.add(rpc_name, path, [2, index]);
        }
        self.elements.push(Element {
            name,
            path: path.to_owned(),
        });
    }

    fn add(&mut self, name: String, parent: &[i32], below: [i32; 2]) {
        self.elements.push(Element {
            name,
            path: join(parent, below),
        });
    }

    fn require(&mut self, fits: bool, name: &str, rule: &str) {
        if !fits {
            self.misnamed.push(format!("{name}: {rule}"));
        }
    }
}

fn join(path: &[i32], below: [i32; 2]) -> Vec<i32> {
    [path, &below].concat()
}

fn commented_paths(file: &FileDescriptorProto) -> BTreeSet<Vec<i32>> {
    let locations = file.source_code_info.iter().flat_map(|info| &info.location);
    let commented = locations.filter(|location| {
        let above = !location.leading_comments().trim().is_empty();
        above || !location.trailing_comments().trim().is_empty()
    });
    commented.map(|location| location.path.clone()).collect()
}

#[test]
fn every_element_is_documented() {
    let mut silent = Vec::new();
    for file in contracts() {
        let commented = commented_paths(&file);
        let elements = Findings::of(&file).elements.into_iter();
        let uncommented = elements.filter(|element| !commented.contains(&element.path));
        silent.extend(uncommented.map(|element| format!("{}: {}", file.name(), element.name)));
    }
    assert_none(
        "every message, field, value and rpc has a comment with unit and bound",
        &silent,
    );
}

#[test]
fn names_follow_the_rules_of_buf() {
    let misnamed: Vec<_> = contracts()
        .iter()
        .flat_map(|file| Findings::of(file).misnamed)
        .collect();
    assert_none("names follow the rules of buf", &misnamed);
}

fn is_pascal(name: &str) -> bool {
    name.starts_with(|first: char| first.is_ascii_uppercase()) && !name.contains('_')
}

fn is_lower_snake(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.chars().all(is_allowed)
        && !name.contains("__")
        && !name.ends_with('_')
}

fn is_upper_snake(name: &str) -> bool {
    is_lower_snake(&name.to_ascii_lowercase()) && !name.contains(|c: char| c.is_ascii_lowercase())
}

/// `RouteKind` becomes `ROUTE_KIND`, `HTTPVersion` becomes `HTTP_VERSION`.
fn upper_snake(name: &str) -> String {
    let letters: Vec<char> = name.chars().collect();
    let mut snake = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let after_lower = index > 0 && !letters[index - 1].is_ascii_uppercase();
        let before_lower = letters.get(index + 1).is_some_and(char::is_ascii_lowercase);
        let starts_word = letter.is_ascii_uppercase() && (after_lower || before_lower);
        if index > 0 && starts_word {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}
