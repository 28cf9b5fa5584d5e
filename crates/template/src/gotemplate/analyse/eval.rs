//! Pipelines and fields, with what is known in place of values.
//!
//! The analyser comes here for each action and condition. What is not known exactly is followed by its kind, so that a misspelt field is found.

use super::{Analyser, Known, What, known::Origin};
use crate::{
    gotemplate::{
        ExecReason, Value,
        names::FieldName,
        tree::{Expression, Path, Pipeline, Span},
        value::NoField,
    },
    schema::{self, Kind},
};

impl<'a> Analyser<'a> {
    pub(super) fn pipeline(&mut self, pipeline: &'a Pipeline, dot: &Known<'a>) -> Known<'a> {
        let mut value = settled(self.expression(&pipeline.first, dot));
        for call in &pipeline.rest {
            value = settled(self.call(call, dot, Some(value)));
        }
        for variable in &pipeline.variables {
            self.set(*variable, value.clone());
        }
        value
    }

    pub(super) fn expression(&mut self, expression: &'a Expression, dot: &Known<'a>) -> Known<'a> {
        match expression {
            Expression::Dot => dot.clone(),
            Expression::Nil => Known::computed(Value::Nil),
            Expression::Constant(value) => Known::computed(value.clone()),
            Expression::Variable(variable) => self.get(*variable),
            Expression::Field(path) => self.fields(dot.clone(), path),
            Expression::VariableField(variable, path) => self.fields(self.get(*variable), path),
            Expression::Chain(inner, path) => {
                let value = self.expression(inner, dot);
                self.fields(value, path)
            }
            Expression::Pipeline(pipeline) => self.pipeline(pipeline, dot),
            Expression::Call(call) => self.call(call, dot, None),
        }
    }

    fn fields(&mut self, mut value: Known<'a>, path: &'a Path) -> Known<'a> {
        for name in &path.fields {
            value = self.field(value, name, &path.span);
        }
        if let Some(Origin::Values(path)) = value.origin()
            && !matches!(value, Known::Value(Value::Map(_), _))
        {
            self.analysis.reads.insert(path.to_vec());
        }
        value
    }

    fn field(&mut self, value: Known<'a>, name: &FieldName, span: &Span) -> Known<'a> {
        match value {
            Known::Unknown => Known::Unknown,
            Known::Data(values) => match Known::of_data(values, name.go()) {
                Some(field) => field,
                None => {
                    self.analysis.unknown_roots.insert(name.go().to_owned());
                    let known = super::DATA.iter().map(|(name, _)| *name);
                    self.unknown_field(name, "SidecarTemplateData", known, span)
                }
            },
            Known::Kind(kind) => self.field_of_kind(&kind, name, span),
            Known::Value(value, origin) => {
                let found = match value.field(name) {
                    Ok(found) => found,
                    Err(problem) => {
                        let field = name.go().to_owned();
                        let reason = match problem {
                            NoField::OfNil => ExecReason::FieldOfNil(field),
                            NoField::OfType(type_name) => ExecReason::NoField { field, type_name },
                        };
                        self.fails(reason, span);
                        return Known::Unknown;
                    }
                };
                let Origin::Values(path) = &origin else {
                    return Known::computed(found);
                };
                let path: Vec<_> = path.iter().cloned().chain([name.go().to_owned()]).collect();
                if matches!(found, Value::Missing) {
                    self.misspelt(&value, &path, name, span);
                }
                Known::Value(found, Origin::Values(path.into()))
            }
        }
    }

    /// Notes a key that is not there where there is one of nearly the same name.
    fn misspelt(&mut self, map: &Value<'a>, path: &[String], name: &FieldName, span: &Span) {
        let Value::Map(map) = map else {
            return;
        };
        let keys: Vec<_> = map.sorted().into_iter().map(|(key, _)| key).collect();
        let nearest = schema::nearest(name.go(), keys.iter().map(|key| &**key));
        if let Some(nearest) = nearest {
            let what = What::MissingValue {
                path: path.join("."),
                nearest: Some(nearest.to_owned()),
            };
            self.report(what, span);
        }
    }

    fn field_of_kind(&mut self, kind: &Kind, name: &FieldName, span: &Span) -> Known<'a> {
        let type_name = match kind {
            Kind::Any | Kind::Quantity | Kind::Port => return Known::Unknown,
            Kind::Struct(type_name) => {
                return match schema::go_field(type_name, name.go()) {
                    Some(kind) => Known::of_kind(kind),
                    None if name.is_identity() => Known::Unknown,
                    None => {
                        let known = schema::fields(type_name).iter().map(|field| field.go);
                        self.unknown_field(name, type_name, known, span)
                    }
                };
            }
            Kind::Map(item) => return Known::of_kind(item),
            _ if name.is_identity() => return Known::Kind(kind.clone()),
            Kind::Text | Kind::Enum => "string",
            Kind::Boolean => "bool",
            Kind::Integer => "int",
            Kind::Float => "float64",
            Kind::List(_) => "[]interface {}",
        };
        let field = name.go().to_owned();
        self.fails(ExecReason::NoField { field, type_name }, span);
        Known::Unknown
    }

    fn unknown_field(
        &mut self,
        name: &FieldName,
        type_name: &'static str,
        known: impl Iterator<Item = &'static str>,
        span: &Span,
    ) -> Known<'a> {
        let what = What::UnknownField {
            field: name.go().to_owned(),
            type_name,
            nearest: schema::nearest(name.go(), known),
        };
        self.report(what, span);
        Known::Unknown
    }
}

/// As the executor has it: a null becomes a missing value.
fn settled(value: Known<'_>) -> Known<'_> {
    match value {
        Known::Value(Value::Nil, origin) => Known::Value(Value::Missing, origin),
        other => other,
    }
}
