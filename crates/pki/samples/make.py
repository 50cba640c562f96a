#!/usr/bin/env python3
"""Makes the files of this folder (needs `cryptography` and the openssl program)."""
import datetime
import subprocess

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

FROM, TO = datetime.datetime(2025, 1, 1), datetime.datetime(2036, 1, 1)
FORMAT = serialization.PrivateFormat


def name(**parts):
    return x509.Name([x509.NameAttribute(getattr(NameOID, key), text) for key, text in parts.items()])


def usage(**set_ones):
    names = ["digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
             "key_cert_sign", "crl_sign", "encipher_only", "decipher_only"]
    return x509.KeyUsage(**{each: set_ones.get(each, False) for each in names})


EXTENDED = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH, ObjectIdentifier("1.2.3.4")])


def certificate(file, key, subject, issuer=None, names=(), extensions=(), ca=True, to=TO):
    issuer_name, issuer_key = issuer or (subject, key)
    made = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer_name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(FROM).not_valid_after(to)
            .add_extension(x509.BasicConstraints(ca, None), True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False))
    if names:
        made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    for extension in extensions:
        made = made.add_extension(extension, False)
    digest = None if isinstance(issuer_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    write(file, made.sign(issuer_key, digest).public_bytes(serialization.Encoding.PEM))
    return subject, key


def write(file, content):
    with open(file, "wb") as out:
        out.write(content)


def private(file, key, form, encryption=serialization.NoEncryption()):
    write(file, key.private_bytes(serialization.Encoding.PEM, form, encryption))


key = rsa.generate_private_key(65537, 2048)
private("rsa_2048.pkcs8.key", key, FORMAT.PKCS8)
private("rsa_2048.pkcs1.key", key, FORMAT.TraditionalOpenSSL)
secret = serialization.BestAvailableEncryption(b"secret")
private("rsa_2048.encrypted.key", key, FORMAT.PKCS8, secret)
private("rsa_2048.traditional_encrypted.key", key, FORMAT.TraditionalOpenSSL, secret)
www = name(COMMON_NAME="www.example.com")
signing = usage(digital_signature=True, key_encipherment=True)
certificate("rsa_2048.crt", key, name(COUNTRY_NAME="US", ORGANIZATION_NAME="Example Corp", COMMON_NAME="www.example.com"),
            names=["www.example.com", "*.api.example.com"], extensions=[signing, EXTENDED])
certificate("rsa_2048.other_names.crt", key, name(ORGANIZATION_NAME="Example Corp"), names=["other.example.com"],
            extensions=[usage(digital_signature=True, key_encipherment=True, data_encipherment=True), EXTENDED])
certificate("rsa_2048.fewer_usages.crt", key, www, extensions=[usage(digital_signature=True), EXTENDED])
certificate("rsa_2048.nameless.crt", key, name(COMMON_NAME="Nobody"))
certificate("rsa_2048.expired.crt", key, www, to=datetime.datetime(2025, 6, 1))
old = rsa.generate_private_key(65537, 1024)
private("rsa_1024.key", old, FORMAT.TraditionalOpenSSL)
certificate("rsa_1024.crt", old, name(COMMON_NAME="old.example.com"))
for curve in ("prime256v1", "secp384r1", "secp521r1"):
    file = f"ec_{curve}.sec1.key"
    subprocess.run(["openssl", "ecparam", "-name", curve, "-genkey", "-out", file], check=True)
    with open(file, "rb") as text:
        read = text.read()
    ec_key = serialization.load_pem_private_key(read[read.index(b"-----BEGIN EC PRIVATE"):], None)
    certificate(f"ec_{curve}.crt", ec_key, name(COMMON_NAME=f"{curve}.example.com"), names=[f"{curve}.example.com"])
    if curve == "secp384r1":
        private("ec_secp384r1.pkcs8.key", ec_key, FORMAT.PKCS8)
ed = ed25519.Ed25519PrivateKey.generate()
private("ed25519.key", ed, FORMAT.PKCS8)
certificate("ed25519.crt", ed, name(COMMON_NAME="ed.example.com"))
root_key, middle_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
root = certificate("chain_root.crt", root_key, name(ORGANIZATION_NAME="Test Roots", COMMON_NAME="Root"))
middle = certificate("chain_intermediate.crt", middle_key, name(ORGANIZATION_NAME="Test Issuers", COMMON_NAME="Intermediate"), root)
certificate("chain_leaf.crt", leaf_key, name(COMMON_NAME="leaf.example.com"), middle, names=["leaf.example.com"], ca=False)
private("chain_leaf.key", leaf_key, FORMAT.TraditionalOpenSSL)
