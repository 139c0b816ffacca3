//! The table: what a row of [`crate::messages`] may say, and what it expands to.
//!
//! ```text
//! wire! {
//!     /// What the message is for.
//!     #[api(key = 2, versions = 1..=11, flexible = 6.., route = leader, response = ListOffsetsResponse)]
//!     pub struct ListOffsetsRequest {
//!         /// What the field means.
//!         timeout_ms: i32 [10.., ignorable],
//!     }
//! }
//! ```
//!
//! A struct stands for all versions of its message. A field without attributes is in all of them. The attributes:
//!
//! | attribute | meaning |
//! |---|---|
//! | `4..`, `..=7`, `4..=7` | the versions that have the field |
//! | `ignorable` | a version that lacks the field drops its value silently; otherwise only the default may be dropped |
//! | `tag = 0` | a tagged field (KIP-482) |
//! | `default = -1` | what [`Default`] gives; without it zero, empty, or for an `Option` `Some` of that |
//! | `nullable 4..` | for an `Option`: only these versions have a null |
//!
//! `route` says who answers a request, and in brackets which rows name it: `group(group_id)`, or all of several, each a
//! path through lists: `group(group_id, groups.group_id)`; `leader(topics.name, partitions.partition_index)` is the path
//! of the topic's name, then that of the partition's number inside the topic; `share` has the group before both;
//! `resource(resources.resource_type, resource_name)` is the path of the type, then the name beside it.
//!
//! Any other word does not compile. The macros read attributes one a step, and put them into one fixed order for
//! those that need them (`attributes!`), so each is understood in one place.

use crate::{ErrorCode, Kind, Reader, VersionRange, Writer};

/// A struct of the table: a whole message or a part of one.
pub trait Message: Default + Clone + std::fmt::Debug + PartialEq + Send + Sync + 'static {
    /// The name in Kafka's schema.
    const NAME: &'static str;
    /// The rows, in the order in which they are on the wire: those of tagged fields by ascending number.
    const FIELDS: &'static [FieldInfo];
    /// Whether it or a part of it has an `error_code`. What has none leaves no code behind for [`Message::outcomes`].
    const HAS_OUTCOMES: bool;

    /// Reads the struct as `version` has it into one that is still the default: what the version lacks stays as it is.
    /// Errors stay in the reader.
    ///
    /// A value that a call returns goes through memory, field by field, and to its place in larger pieces, for which a
    /// processor waits. So everything is read where it is to stay.
    fn decode(&mut self, reader: &mut Reader<'_>, version: i16);

    /// Writes the struct as `version` has it. Errors stay in the writer.
    fn encode(&self, writer: &mut Writer, version: i16);

    /// Its `throttle_time_ms`, or 0 if it has none.
    fn throttle_time_ms(&self) -> i32;

    /// Its `timeout_ms`, how long a broker may take over a request, or 0 if it has none.
    fn timeout_ms(&self) -> i32;

    /// Its own `error_code`, if it has that row; what is wrong with parts of it is in [`Message::outcomes`].
    fn error_code(&self) -> Option<ErrorCode>;

    /// Its own `error_message`, if it has one.
    fn error_message(&self) -> Option<&str>;

    /// Adds what became of each part that has an error code: its own error, or else what became of its parts, or else
    /// [`ErrorCode::NONE`].
    fn outcomes(&self, codes: &mut Vec<ErrorCode>);
}

/// One row of the table, for comparing it with the schema and for generating samples.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// The name, in snake case.
    pub name: &'static str,
    /// The type, without its being nullable.
    pub kind: Kind,
    /// First and last version that have the field; 0 and `i16::MAX` where the row says nothing.
    pub versions: (i16, i16),
    /// Its number, if it is a tagged field.
    pub tag: Option<u32>,
    /// Its default as the row spells it, if it does.
    pub default: Option<&'static str>,
    /// First and last version in which it may be null.
    pub nullable: Option<(i16, i16)>,
    /// Whether versions that lack it drop its value silently.
    pub ignorable: bool,
}

impl FieldInfo {
    /// Whether `version` has the field.
    pub fn is_in(&self, version: i16) -> bool {
        (self.versions.0..=self.versions.1).contains(&version)
    }

    /// Whether the field may be null in `version`.
    pub fn is_nullable_in(&self, version: i16) -> bool {
        self.nullable.is_some_and(|(first, last)| (first..=last).contains(&version))
    }
}

/// Whether the struct's own code already says what became of it, since it is an error.
pub(crate) fn is_outcome(own: Option<ErrorCode>, codes: &mut Vec<ErrorCode>) -> bool {
    let error = own.filter(|code| code.is_err());
    codes.extend(error);
    error.is_some()
}

/// The struct's own code, which is no error, where no part of it has added one since there were `before`.
pub(crate) fn or_no_error(own: Option<ErrorCode>, before: usize, codes: &mut Vec<ErrorCode>) {
    if codes.len() == before {
        codes.extend(own);
    }
}

/// Refuses to compile what would be written wrong: a tagged field in a version that has none, which would be dropped
/// without a word, and records in a tagged field, whose size is taken of the head alone.
pub(crate) const fn check(fields: &[FieldInfo], versions: VersionRange, flexible: Option<i16>) {
    check_rows(fields, versions.max, flexible, false);
}

const fn check_rows(fields: &[FieldInfo], newest: i16, flexible: Option<i16>, is_tagged: bool) {
    let mut rest = fields;
    while let [field, behind @ ..] = rest {
        rest = behind;
        if field.tag.is_some() && field.versions.0 <= newest {
            let is_flexible = matches!(flexible, Some(first) if field.versions.0 >= first);
            assert!(is_flexible, "a tagged field in a version that is not flexible");
        }
        let mut kind = &field.kind;
        while let Kind::Array(element) = kind {
            kind = element;
        }
        let is_tagged = is_tagged || field.tag.is_some();
        match kind {
            Kind::Struct(_, inside) => check_rows(inside, newest, flexible, is_tagged),
            Kind::Primitive(name) => {
                assert!(!(is_tagged && matches!(name.as_bytes(), b"records")), "records in a tagged field");
            }
            Kind::Array(_) => {}
        }
    }
}

/// A field's name without the `r#` of those that are called like a keyword.
pub(crate) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// Expands rows into structs, their `Default`, and [`Message`]; for a request also [`crate::Request`].
macro_rules! wire {
    ($(
        $(#[doc = $doc:literal])*
        $(#[api $api:tt])?
        $(#[data $data:tt])?
        pub struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident: $type:ty $([ $($attribute:tt)* ])? ),* $(,)?
        }
    )*) => { $(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $field_doc])* pub $field: $type, )*
            /// Tagged fields that came and that the table does not know.
            pub unknown_tags: $crate::UnknownTags,
        }

        impl Default for $name {
            #[inline]
            fn default() -> Self {
                Self {
                    $( $field: attributes!(field_default [$type] $($($attribute)*)?), )*
                    unknown_tags: $crate::UnknownTags::default(),
                }
            }
        }

        #[allow(unused_assignments, unused_mut, unused_variables)]
        impl $crate::Message for $name {
            const NAME: &'static str = stringify!($name);
            const FIELDS: &'static [$crate::FieldInfo] =
                &[ $( attributes!(field_info [$field $type] $($($attribute)*)?), )* ];
            const HAS_OUTCOMES: bool = {
                let mut has = false $( || <$type as $crate::Wire>::HAS_OUTCOMES )*;
                $( if_error_code!($field has = true); )*
                has
            };

            fn decode(&mut self, r: &mut $crate::Reader<'_>, version: i16) {
                $( attributes!(field_read [self r version $name $field $type] $($($attribute)*)?); )*
                let mut left = r.tag_count();
                while let Some((tag, size)) = r.next_tag(&mut left) {
                    $( attributes!(field_read_tag [self r version $name $field tag size $type] $($($attribute)*)?); )*
                    r.unknown_tag(&mut self.unknown_tags, tag, size, left);
                }
            }

            fn encode(&self, w: &mut $crate::Writer, version: i16) {
                let mut tags = 0;
                $( attributes!(field_write [self w version $name $field tags $type] $($($attribute)*)?); )*
                if w.tag_count(tags, &self.unknown_tags, &concat!(stringify!($name), ".unknown_tags")) {
                    let mut unknown = self.unknown_tags.as_slice();
                    $( attributes!(field_write_tag [self w version $name $field unknown $type] $($($attribute)*)?); )*
                    w.unknown_tags(None, &mut unknown);
                }
            }

            fn throttle_time_ms(&self) -> i32 {
                let mut found = 0;
                $( named!(throttle_time_ms found self $field); )*
                found
            }

            fn timeout_ms(&self) -> i32 {
                let mut found = 0;
                $( named!(timeout_ms found self $field); )*
                found
            }

            fn error_code(&self) -> Option<$crate::ErrorCode> {
                let mut found = None;
                $( if_error_code!($field found = Some(self.$field)); )*
                found
            }

            fn error_message(&self) -> Option<&str> {
                let mut found = None;
                $( named!(error_message found self $field); )*
                found
            }

            fn outcomes(&self, codes: &mut Vec<$crate::ErrorCode>) {
                let (before, own) = (codes.len(), self.error_code());
                if Self::HAS_OUTCOMES && !$crate::table::is_outcome(own, codes) {
                    $(
                        if <$type as $crate::Wire>::HAS_OUTCOMES {
                            <$type as $crate::Wire>::outcomes(&self.$field, codes);
                        }
                    )*
                    $crate::table::or_no_error(own, before, codes);
                }
            }
        }

        $( api! { $name $api } )?
        $( data! { $name $data } )?
    )* };
}

/// What `#[api(..)]` says about a request.
macro_rules! api {
    ($name:ident (
        key = $key:literal, versions = $first:literal..=$last:literal $(, unstable = $unstable:literal)?,
        flexible = $flexible:tt $(..)?, route = $route:ident $(($($path:tt)+))?, response = $response:ident
    )) => {
        impl $crate::Request for $name {
            const KEY: $crate::ApiKey = $crate::ApiKey($key);
            const VERSIONS: $crate::VersionRange = $crate::VersionRange { min: $first, max: $last };
            $( const LATEST_UNSTABLE: Option<i16> = Some($unstable); )?
            const FLEXIBLE: Option<i16> = option!($flexible);
            const ROUTE: $crate::Route = route!($route);
            type Response = $response;

            $(
                fn route_keys<'a>(&'a self, visit: &mut dyn FnMut($crate::RouteKey<'a>)) {
                    route_keys!($route self visit $($path)+);
                }
            )?
        }

        const _: () = {
            let versions = $crate::VersionRange { min: $first, max: $last };
            $crate::table::check(<$name as $crate::Message>::FIELDS, versions, option!($flexible));
            $crate::table::check(<$response as $crate::Message>::FIELDS, versions, option!($flexible));
        };
    };
}

/// Passes on what the rows behind the paths of a route hold.
macro_rules! route_keys {
    (leader $self:ident $visit:ident $($topic:ident).+, $($partition:ident).+) => {
        each!($self $($topic).+ => |parent, topic| {
            each!(parent $($partition).+ => |_parent, partition| {
                $visit($crate::RouteKey::Partition { topic, partition: *partition });
            });
        });
    };
    (share $self:ident $visit:ident $group:ident, $($topic:ident).+, $($partition:ident).+) => {
        each!($self $($topic).+ => |parent, topic_id| {
            each!(parent $($partition).+ => |_parent, partition| {
                let (group, topic_id, partition) = (&$self.$group, *topic_id, *partition);
                $visit($crate::RouteKey::SharePartition { group, topic_id, partition });
            });
        });
    };
    (resource $self:ident $visit:ident $($kind:ident).+, $name:ident) => {
        each!($self $($kind).+ => |parent, kind| {
            $visit($crate::RouteKey::Resource { kind: *kind, name: &parent.$name });
        });
    };
    ($route:ident $self:ident $visit:ident $($($path:ident).+),+) => {
        $( each!($self $($path).+ => |_parent, id| { $visit($crate::RouteKey::Id(id)) }); )+
    };
}

/// Runs a step for every value at the end of a path, with the struct that holds it.
macro_rules! each {
    ($parent:ident $field:ident => |$holder:pat_param, $value:pat_param| $step:block) => {{
        let $holder = $parent;
        for $value in $crate::api::Values::values(&$parent.$field) $step
    }};
    ($parent:ident $field:ident . $($rest:ident).+ => |$holder:pat_param, $value:pat_param| $step:block) => {
        for parent in &$parent.$field {
            each!(parent $($rest).+ => |$holder, $value| $step);
        }
    };
}

/// What `#[data(..)]` says about a struct that is embedded in records or in other messages' bytes.
macro_rules! data {
    ($name:ident ($(key = $key:literal,)? versions = $first:literal..=$last:literal, flexible = $flexible:tt $(..)?)) => {
        impl $crate::Data for $name {
            $( const RECORD_TYPE: Option<i16> = Some($key); )?
            const VERSIONS: $crate::VersionRange = $crate::VersionRange { min: $first, max: $last };
            const FLEXIBLE: Option<i16> = option!($flexible);
        }

        const _: () = $crate::table::check(
            <$name as $crate::Message>::FIELDS,
            <$name as $crate::Data>::VERSIONS,
            <$name as $crate::Data>::FLEXIBLE,
        );
    };
}

/// A number, or none.
macro_rules! option {
    ($(none)?) => {
        None
    };
    ($number:literal) => {
        Some($number)
    };
}

/// Where a request goes.
macro_rules! route {
    (any) => {
        $crate::Route::AnyBroker
    };
    (broker) => {
        $crate::Route::Broker
    };
    (controller) => {
        $crate::Route::Controller
    };
    (leader) => {
        $crate::Route::Leader
    };
    (group) => {
        $crate::Route::GroupCoordinator
    };
    (transaction) => {
        $crate::Route::TransactionCoordinator
    };
    (share) => {
        $crate::Route::ShareCoordinator
    };
    (resource) => {
        $crate::Route::Resource
    };
}

/// `attributes!(then [args] attribute, ...)` calls `then!` with the attributes in one fixed order:
/// `[args] [first last] [tag] [default] [first last of null] [ignorable]`, each bracket empty where the row says nothing.
macro_rules! attributes {
    ($then:ident $args:tt $($attribute:tt)*) => { attribute! { $then $args [] [] [] [] [] $($attribute)* } };
}

/// One attribute a step.
macro_rules! attribute {
    ($then:ident $args:tt $range:tt $tag:tt $default:tt $null:tt $ignorable:tt) => {
        $then! { $args $range $tag $default $null $ignorable }
    };
    ($then:ident $a:tt [] $t:tt $d:tt $n:tt $i:tt $first:literal.. $(, $($rest:tt)*)?) => {
        attribute! { $then $a [$first (i16::MAX)] $t $d $n $i $($($rest)*)? }
    };
    ($then:ident $a:tt [] $t:tt $d:tt $n:tt $i:tt $first:literal..=$last:literal $(, $($rest:tt)*)?) => {
        attribute! { $then $a [$first $last] $t $d $n $i $($($rest)*)? }
    };
    ($then:ident $a:tt [] $t:tt $d:tt $n:tt $i:tt ..=$last:literal $(, $($rest:tt)*)?) => {
        attribute! { $then $a [0 $last] $t $d $n $i $($($rest)*)? }
    };
    ($then:ident $a:tt $r:tt [] $d:tt $n:tt $i:tt tag = $tag:literal $(, $($rest:tt)*)?) => {
        attribute! { $then $a $r [$tag] $d $n $i $($($rest)*)? }
    };
    ($then:ident $a:tt $r:tt $t:tt [] $n:tt $i:tt default = $d:tt $($d2:literal)? $(, $($rest:tt)*)?) => {
        attribute! { $then $a $r $t [$d $($d2)?] $n $i $($($rest)*)? }
    };
    ($then:ident $a:tt $r:tt $t:tt $d:tt [] $i:tt nullable $first:literal.. $(, $($rest:tt)*)?) => {
        attribute! { $then $a $r $t $d [$first (i16::MAX)] $i $($($rest)*)? }
    };
    ($then:ident $a:tt $r:tt $t:tt $d:tt [] $i:tt nullable $first:literal..=$last:literal $(, $($rest:tt)*)?) => {
        attribute! { $then $a $r $t $d [$first $last] $i $($($rest)*)? }
    };
    ($then:ident $a:tt $r:tt $t:tt $d:tt [] $i:tt nullable ..=$last:literal $(, $($rest:tt)*)?) => {
        attribute! { $then $a $r $t $d [0 $last] $i $($($rest)*)? }
    };
    ($then:ident $a:tt $r:tt $t:tt $d:tt $n:tt [] ignorable $(, $($rest:tt)*)?) => {
        attribute! { $then $a $r $t $d $n [true] $($($rest)*)? }
    };
}

/// Takes the value of the row with that name; nothing for any other.
macro_rules! named {
    (throttle_time_ms $found:ident $self:ident throttle_time_ms) => {
        $found = $self.throttle_time_ms
    };
    (timeout_ms $found:ident $self:ident timeout_ms) => {
        $found = $self.timeout_ms
    };
    (error_message $found:ident $self:ident error_message) => {
        $found = $self.error_message.as_deref()
    };
    ($name:ident $found:ident $self:ident $other:ident) => {};
}

/// What is to be done with the row that has a struct's own code; nothing with any other.
macro_rules! if_error_code {
    (error_code $($then:tt)+) => {
        $($then)+
    };
    // What AddPartitionsToTxn calls it.
    (partition_error_code $($then:tt)+) => {
        $($then)+
    };
    ($other:ident $($then:tt)+) => {};
}

/// Whether a version lies in a range of the fixed order.
macro_rules! in_range {
    ($version:ident []) => {
        true
    };
    ($version:ident [0 $last:tt]) => {
        $version <= $last
    };
    ($version:ident [$first:literal (i16::MAX)]) => {
        $version >= $first
    };
    ($version:ident [$first:literal $last:tt]) => {
        ($first..=$last).contains(&$version)
    };
}

/// First and last version of a range of the fixed order.
macro_rules! range_of {
    ([]) => {
        (0, i16::MAX)
    };
    ([$first:tt $last:tt]) => {
        ($first, $last)
    };
}

macro_rules! field_default {
    ([$type:ty] $range:tt $tag:tt [] $null:tt $ignorable:tt) => { <$type as $crate::Wire>::initial() };
    ([$type:ty] $range:tt $tag:tt [$($default:tt)+] $null:tt $ignorable:tt) => { $($default)+ };
}

macro_rules! field_info {
    ([$field:ident $type:ty] $range:tt [$($tag:literal)?] [$($default:tt)*] $null:tt [$($ignorable:literal)?]) => {
        $crate::FieldInfo {
            name: $crate::table::plain(stringify!($field)),
            kind: <$type as $crate::Wire>::KIND,
            versions: range_of!($range),
            tag: option!($($tag)?),
            default: spelled!($($default)*),
            nullable: if <$type as $crate::Wire>::NULLABLE { Some(range_of!($null)) } else { None },
            ignorable: false $( || $ignorable )?,
        }
    };
}

/// A default as text, if there is one.
macro_rules! spelled {
    () => { None };
    ($($default:tt)+) => { Some(concat!($( stringify!($default) ),+)) };
}

macro_rules! field_read {
    ([$self:ident $r:ident $version:ident $name:ident $field:ident $type:ty]
     $range:tt [] $default:tt $null:tt $ignorable:tt) => {
        if in_range!($version $range) {
            $r.at(&concat!(stringify!($name), ".", stringify!($field)));
            let value = &mut $self.$field;
            <$type as $crate::Wire>::read(value, $r, $version);
            check_null!($r $version value $null $crate::DecodeErrorKind::Null);
        }
    };
    ($args:tt $range:tt $tag:tt $default:tt $null:tt $ignorable:tt) => {};
}

macro_rules! field_read_tag {
    ($args:tt $range:tt [] $default:tt $null:tt $ignorable:tt) => {};
    ([$self:ident $r:ident $version:ident $name:ident $field:ident $tag:ident $size:ident $type:ty]
     $range:tt [$number:literal] $default:tt $null:tt $ignorable:tt) => {
        if $tag == $number && in_range!($version $range) {
            $r.at(&concat!(stringify!($name), ".", stringify!($field)));
            let value = &mut $self.$field;
            $r.tagged(value, $size, $version);
            check_null!($r $version value $null $crate::DecodeErrorKind::Null);
            continue;
        }
    };
}

macro_rules! field_write {
    ([$self:ident $w:ident $version:ident $name:ident $field:ident $tags:ident $type:ty]
     $range:tt [] $default:tt $null:tt $ignorable:tt) => {
        if in_range!($version $range) {
            $w.at(&concat!(stringify!($name), ".", stringify!($field)));
            let value = &$self.$field;
            check_null!($w $version value $null $crate::EncodeErrorKind::Null);
            <$type as $crate::Wire>::write(value, $w, $version);
        } else {
            field_absent!([$self $w $name $field $type] $range [] $default $null $ignorable);
        }
    };
    ([$self:ident $w:ident $version:ident $name:ident $field:ident $tags:ident $type:ty]
     $range:tt $tag:tt $default:tt $null:tt $ignorable:tt) => {
        if !(in_range!($version $range)) {
            field_absent!([$self $w $name $field $type] $range $tag $default $null $ignorable);
        } else if $self.$field != field_default!([$type] $range $tag $default $null $ignorable) {
            $tags += 1;
        }
    };
}

macro_rules! field_write_tag {
    ($args:tt $range:tt [] $default:tt $null:tt $ignorable:tt) => {};
    ([$self:ident $w:ident $version:ident $name:ident $field:ident $unknown:ident $type:ty]
     $range:tt [$number:literal] $default:tt $null:tt $ignorable:tt) => {
        if in_range!($version $range)
            && $self.$field != field_default!([$type] $range [$number] $default $null $ignorable)
        {
            $w.at(&concat!(stringify!($name), ".", stringify!($field)));
            let value = &$self.$field;
            check_null!($w $version value $null $crate::EncodeErrorKind::Null);
            $w.tagged::<$type>($number, value, $version, &mut $unknown);
        }
    };
}

/// A value that the version lacks: dropped if the row or its default allows it.
macro_rules! field_absent {
    ($args:tt $range:tt $tag:tt $default:tt $null:tt [true]) => {};
    ([$self:ident $w:ident $name:ident $field:ident $type:ty] $range:tt $tag:tt $default:tt $null:tt []) => {
        if $self.$field != field_default!([$type] $range $tag $default $null []) {
            $w.at(&concat!(stringify!($name), ".", stringify!($field)));
            $w.fail($crate::EncodeErrorKind::NotInVersion);
        }
    };
}

/// A null in a version that has none, for rows that say which versions have it.
macro_rules! check_null {
    ($io:ident $version:ident $value:ident [] $kind:expr) => {};
    ($io:ident $version:ident $value:ident $null:tt $kind:expr) => {
        if $value.is_none() && !(in_range!($version $null)) {
            $io.fail($kind);
        }
    };
}

#[cfg(test)]
#[expect(unreachable_pub, reason = "the table makes public structs")]
mod tests;
