//! [`Secret`]: a value that logs do not show.

use std::fmt;

use crate::{Kind, Reader, Wire, Writer};

/// A value that [`Debug`](fmt::Debug) does not show: bytes of authentication, keys, settings that may be passwords.
///
/// On the wire it is what it wraps. Its memory is not wiped, and comparing takes as long as the first difference needs.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[hidden]")
    }
}

impl<T> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T: Wire> Wire for Secret<T> {
    const KIND: Kind = T::KIND;

    fn initial() -> Self {
        Self(T::initial())
    }

    fn read(&mut self, reader: &mut Reader<'_>, version: i16) {
        self.0.read(reader, version);
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        self.0.write(writer, version);
    }
}

/// Whether there is a value is no secret.
impl<T> Wire for Option<Secret<T>>
where
    T: Clone,
    Option<T>: Wire,
{
    const KIND: Kind = <Option<T> as Wire>::KIND;
    const NULLABLE: bool = true;

    fn initial() -> Self {
        Option::<T>::initial().map(Secret)
    }

    fn read(&mut self, reader: &mut Reader<'_>, version: i16) {
        let mut value = Option::<T>::initial();
        value.read(reader, version);
        *self = value.map(Secret);
    }

    fn write(&self, writer: &mut Writer, version: i16) {
        self.as_ref().map(|secret| secret.0.clone()).write(writer, version);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::messages::{
        alter_configs, alter_user_scram_credentials::*, create_delegation_token::*,
        describe_delegation_token::*, expire_delegation_token::*, incremental_alter_configs,
        renew_delegation_token::*, sasl_authenticate::*,
    };
    use crate::{Message, Request, decode_request_body, decode_response, encode_request, encode_response};

    const TEXT: &str = "hunter2";

    fn secret() -> Secret<Bytes> {
        Bytes::from_static(TEXT.as_bytes()).into()
    }

    /// The secret went through the message and can be read, but nothing that prints itself tells it.
    fn hidden(message: &impl Message, bytes: &Bytes, printed: &[String]) {
        let numbers = format!("{:?}", TEXT.as_bytes());
        let numbers = numbers.trim_matches(['[', ']']);
        assert!(bytes.windows(TEXT.len()).any(|window| window == TEXT.as_bytes()), "{message:?}");
        for text in printed.iter().chain([&format!("{message:?}"), &format!("{message:#?}")]) {
            assert!(!text.contains(TEXT) && !text.contains(numbers), "{text}");
        }
    }

    fn request<R: Request>(request: &R) {
        let version = R::VERSIONS.max;
        let encoded = encode_request(request, version, 7, None).unwrap();
        let printed = [format!("{encoded:?}")];
        let bytes = encoded.into_bytes();
        hidden(request, &bytes, &printed);
        let header = if R::is_flexible(version) { 15 } else { 14 };
        let body = bytes.slice(header..);
        assert_eq!(&decode_request_body::<R>(&body, version).unwrap(), request);
        assert_eq!(
            format!("{:?}", Reader::new(&body)),
            format!("{:?}", Reader::new(&vec![0; body.len()].into()))
        );
    }

    fn response<R: Request>(response: &R::Response) {
        let version = R::VERSIONS.max;
        let bytes = encode_response::<R>(response, version, 7).unwrap().into_bytes();
        hidden(response, &bytes, &[]);
        assert_eq!(&decode_response::<R>(&bytes.slice(4..), version).unwrap().1, response);
    }

    /// Trap N12: what authenticates is not in what messages, frames, readers and writers print.
    #[test]
    fn secrets_print_as_hidden() {
        request(&SaslAuthenticateRequest { auth_bytes: secret(), ..Default::default() });
        response::<SaslAuthenticateRequest>(&SaslAuthenticateResponse {
            auth_bytes: secret(),
            ..Default::default()
        });
        response::<CreateDelegationTokenRequest>(&CreateDelegationTokenResponse {
            hmac: secret(),
            ..Default::default()
        });
        request(&RenewDelegationTokenRequest { hmac: secret(), ..Default::default() });
        request(&ExpireDelegationTokenRequest { hmac: secret(), ..Default::default() });
        response::<DescribeDelegationTokenRequest>(&DescribeDelegationTokenResponse {
            tokens: vec![DescribedDelegationToken { hmac: secret(), ..Default::default() }],
            ..Default::default()
        });
        for (salt, salted_password) in [(secret(), Secret::default()), (Secret::default(), secret())] {
            let upsertion = ScramCredentialUpsertion { salt, salted_password, ..Default::default() };
            request(&AlterUserScramCredentialsRequest { upsertions: vec![upsertion], ..Default::default() });
        }
    }

    /// Trap N12: settings may be passwords; only whether there is a value shows.
    #[test]
    fn values_of_settings_print_as_hidden() {
        use alter_configs::{AlterConfigsRequest, AlterConfigsResource, AlterableConfig};
        use incremental_alter_configs as incremental;

        let value = Some(Secret(TEXT.into()));
        let config = AlterableConfig { value: value.clone(), ..Default::default() };
        assert!(format!("{config:?}").contains("value: Some([hidden])"));
        let resource = AlterConfigsResource { configs: vec![config], ..Default::default() };
        request(&AlterConfigsRequest { resources: vec![resource], ..Default::default() });
        let config = incremental::AlterableConfig { value, ..Default::default() };
        let resource = incremental::AlterConfigsResource { configs: vec![config], ..Default::default() };
        request(&incremental::IncrementalAlterConfigsRequest {
            resources: vec![resource],
            ..Default::default()
        });
    }

    #[test]
    fn a_writer_prints_how_much_it_has() {
        let mut writer = Writer::new(false);
        writer.bytes(Some(TEXT.as_bytes()));
        assert_eq!(format!("{writer:?}"), "Writer { len: 11, field: \"\", .. }");
    }
}
