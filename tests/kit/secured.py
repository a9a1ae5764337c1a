"""A broker that knows who asks: TLS with a certificate of its own, passwords, and access lists as the product's table says.

Two more doors have certificates that must not be believed: one for another host, and one that has expired. The last one has passwords
and no TLS, so that a proxy before it knows what it cuts.
"""

from __future__ import annotations

import secrets
import subprocess
from pathlib import Path

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.admin._scram import ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion

from kit.broker import Broker
from perdure_platform.ops.acls import Grant, Role

USERS = [role.value for role in Role]
CERTIFICATES = {"broker": ("IP:127.0.0.1", 2), "elsewhere": ("DNS:elsewhere.example", 2), "expired": ("IP:127.0.0.1", -1)}
"""Of each door: for whom it is, and for how many days from now."""
AGAIN_MS = 10_000
"""So often a connection has to show its password again."""
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
        self.broker = Broker(doors=len(CERTIFICATES) + 1)
        self.doors = {name: f"127.0.0.1:{door}" for name, (door, _) in zip(CERTIFICATES, self.broker.doors, strict=False)}
        self.proxied = self.broker.doors[-1]
        """Where the broker listens for a proxy, and where its clients are told to come."""
        self.authorities = {name: self._certificate(name, *about) for name, about in CERTIFICATES.items()}
        users = " ".join(f'user_{user}="{password}"' for user, password in self.passwords.items())
        names = {f"DOOR{number}": name for number, name in enumerate(CERTIFICATES)}
        last = f"DOOR{len(CERTIFICATES)}"
        self.broker.settings |= {
            "listener.security.protocol.map": ",".join(
                ["CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT", *(f"{door}:SASL_SSL" for door in names), f"{last}:SASL_PLAINTEXT"]
            ),
            "advertised.listeners": ",".join(
                [
                    f"PLAINTEXT://{self.broker.bootstrap}",
                    *(f"{door}://{self.doors[name]}" for door, name in names.items()),
                    f"{last}://127.0.0.1:{self.proxied[1]}",
                ]
            ),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
            "connections.max.reauth.ms": str(AGAIN_MS),
        }
        for door in (*names, last):
            self.broker.settings |= {
                f"listener.name.{door.lower()}.plain.sasl.jaas.config": (
                    f"org.apache.kafka.common.security.plain.PlainLoginModule required {users};"
                ),
                f"listener.name.{door.lower()}.scram-sha-512.sasl.jaas.config": (
                    "org.apache.kafka.common.security.scram.ScramLoginModule required;"
                ),
            }
        for door, name in names.items():
            self.broker.settings |= {
                f"listener.name.{door.lower()}.ssl.keystore.type": "PEM",
                f"listener.name.{door.lower()}.ssl.keystore.location": str(directory / f"{name}.pem"),
            }
        self.broker.start()

    def allow(self, grants: list[Grant]) -> None:
        """Put the table into the broker's access lists, each role's user being its principal."""
        admin = self._admin()
        asked = admin.create_acls([binding for grant in grants for binding in _bindings(grant)])
        for made in asked.values():
            made.result(60)

    def forbid(self, grant: Grant) -> None:
        """Take a line of the table back."""
        admin = self._admin()
        for deleted in admin.delete_acls([_filter(binding) for binding in _bindings(grant)]).values():
            assert deleted.result(60), f"{grant} was not there"

    def scram(self, user: str, password: str | None) -> None:
        """Give a user a SCRAM password, or take it away."""
        information = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        admin = self._admin()
        asked = admin.alter_user_scram_credentials(
            [
                UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512)
                if password is None
                else UserScramCredentialUpsertion(user, information, password.encode())
            ]
        )
        for made in asked.values():
            made.result(60)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.broker.bootstrap})  # to be held until it has answered

    def url(
        self,
        namespace: str,
        user: str,
        *,
        password: str = "",
        authority: Path | None = None,
        door: str = "broker",
        mechanism: str = "PLAIN",
        protocol: str = "SASL_SSL",
        address: str = "",
    ) -> str:
        """The address for a user; the password is in a file that it names."""
        file = self.directory / f"{user}-{secrets.token_hex(4)}.properties"
        file.write_text(
            f"security.protocol={protocol}\n"
            f"ssl.ca.location={authority or self.authorities[door]}\n"
            f"sasl.mechanism={mechanism}\n"
            f"sasl.username={user}\n"
            f"sasl.password={password or self.passwords[user]}\n"
        )
        return f"kafka://{address or self.doors[door]}/{namespace}?config={file}"

    def stranger(self) -> Path:
        """Another authority's certificate, which never signed the broker's."""
        return self._certificate("stranger", "IP:127.0.0.1", 2)

    def close(self) -> None:
        """End it."""
        self.broker.close()

    def _certificate(self, name: str, alternative: str, days: int) -> Path:
        """A self-signed certificate; the same with its key lies beside it."""
        key, request, certificate = (self.directory / f"{name}.{suffix}" for suffix in ("key", "csr", "crt"))
        subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName={alternative}"]
        asking = ["openssl", "req", "-new", "-newkey", "rsa:2048", "-nodes", *subject, "-keyout", str(key), "-out", str(request)]
        signing = ["openssl", "x509", "-req", "-in", str(request), "-signkey", str(key), "-days", str(days), "-copy_extensions", "copyall"]
        subprocess.run(asking, check=True, capture_output=True)
        subprocess.run([*signing, "-out", str(certificate)], check=True, capture_output=True)
        (self.directory / f"{name}.pem").write_text(key.read_text() + certificate.read_text())
        return certificate


_KINDS = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP}
_PATTERNS = {False: ResourcePatternType.LITERAL, True: ResourcePatternType.PREFIXED}


def _bindings(grant: Grant) -> list[AclBinding]:
    where = (_KINDS[grant.resource], grant.name, _PATTERNS[grant.is_prefix], f"User:{grant.role.value}", "*")
    return [AclBinding(*where, OPERATIONS[operation], AclPermissionType.ALLOW) for operation in grant.operations]


def _filter(binding: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        binding.restype,
        binding.name,
        binding.resource_pattern_type,
        binding.principal,
        binding.host,
        binding.operation,
        binding.permission_type,
    )
