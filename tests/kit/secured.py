"""A broker that knows who asks: TLS with a certificate of its own, passwords, and access lists as the product's table says."""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from kit.broker import Broker
from perdure_platform.ops.acls import Grant, Role

USERS = [role.value for role in Role]
OPERATIONS = {
    "Read": AclOperation.READ,
    "Write": AclOperation.WRITE,
    "Create": AclOperation.CREATE,
    "Delete": AclOperation.DELETE,
    "Describe": AclOperation.DESCRIBE,
    "DescribeConfigs": AclOperation.DESCRIBE_CONFIGS,
}


class Secured:
    """The broker: users with the names of the roles come in by `bootstrap`; `broker.bootstrap` is a door without a lock."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.passwords = {user: f"s3cret-{secrets.token_hex(8)}" for user in USERS}
        self.broker = Broker(doors=1)
        self.bootstrap = f"127.0.0.1:{self.broker.doors[0][0]}"
        self.authority = self._certificate("broker")
        users = " ".join(f'user_{user}="{password}"' for user, password in self.passwords.items())
        self.broker.settings |= {
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,DOOR0:SASL_SSL",
            "advertised.listeners": f"PLAINTEXT://{self.broker.bootstrap},DOOR0://{self.bootstrap}",
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.door0.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};",
            "listener.name.door0.ssl.keystore.type": "PEM",
            "listener.name.door0.ssl.keystore.location": str(directory / "broker.pem"),
        }
        self.broker.start()

    def allow(self, grants: list[Grant]) -> None:
        """Put the table into the broker's access lists, each role's user being its principal."""
        kinds = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
        patterns = {False: ResourcePatternType.LITERAL, True: ResourcePatternType.PREFIXED}
        admin = AdminClient({"bootstrap.servers": self.broker.bootstrap})  # what it was asked dies with it
        asked = admin.create_acls(
            [
                AclBinding(
                    kinds[grant.resource],
                    grant.name,
                    patterns[grant.is_prefix],
                    f"User:{grant.role.value}",
                    "*",
                    OPERATIONS[operation],
                    AclPermissionType.ALLOW,
                )
                for grant in grants
                for operation in grant.operations
            ]
        )
        for made in asked.values():
            made.result(60)

    def url(self, namespace: str, user: str, *, password: str = "", authority: Path | None = None) -> str:
        """The address for a user; the password is in a file that it names."""
        file = self.directory / f"{user}-{secrets.token_hex(4)}.properties"
        file.write_text(
            "security.protocol=SASL_SSL\n"
            f"ssl.ca.location={authority or self.authority}\n"
            "sasl.mechanism=PLAIN\n"
            f"sasl.username={user}\n"
            f"sasl.password={password or self.passwords[user]}\n"
        )
        return f"kafka://{self.bootstrap}/{namespace}?config={file}"

    def stranger(self) -> Path:
        """Another authority's certificate, which never signed the broker's."""
        return self._certificate("stranger")

    def close(self) -> None:
        """End it."""
        self.broker.close()

    def _certificate(self, name: str) -> Path:
        """A self-signed certificate for this host; the same with its key lies beside it."""
        key, certificate = self.directory / f"{name}.key", self.directory / f"{name}.crt"
        subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
        subprocess.run([*command, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True)
        (self.directory / f"{name}.pem").write_text(key.read_text() + certificate.read_text())
        return certificate
