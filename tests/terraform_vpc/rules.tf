resource "aws_security_group" "this" {
  name   = "dual"
  vpc_id = aws_vpc.this.id

  ingress {
    protocol         = "tcp"
    from_port        = 443
    to_port          = 443
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = var.changed ? ["2001:db8::/32"] : ["::/0"]
  }

  ingress {
    protocol        = "tcp"
    from_port       = 22
    to_port         = 22
    prefix_list_ids = [aws_ec2_managed_prefix_list.offices.id]
  }

  ingress {
    protocol         = "icmpv6"
    from_port        = -1
    to_port          = -1
    ipv6_cidr_blocks = ["::/0"]
  }

  egress {
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }
}

resource "aws_security_group" "peer" {
  name   = "peer"
  vpc_id = aws_vpc.peer.id
}

resource "aws_vpc_security_group_ingress_rule" "from_the_other_side" {
  security_group_id            = aws_security_group.peer.id
  referenced_security_group_id = aws_security_group.this.id
  ip_protocol                  = "tcp"
  from_port                    = 8080
  to_port                      = var.changed ? 8090 : 8080
  depends_on                   = [aws_vpc_peering_connection.this]
}

resource "aws_vpc_security_group_ingress_rule" "six" {
  security_group_id = aws_security_group.peer.id
  cidr_ipv6         = "2001:db8:1::/48"
  ip_protocol       = "udp"
  from_port         = 53
  to_port           = 53
}

resource "aws_vpc_security_group_egress_rule" "list" {
  security_group_id = aws_security_group.peer.id
  prefix_list_id    = aws_ec2_managed_prefix_list.offices.id
  ip_protocol       = "-1"
}

resource "aws_security_group_rule" "six" {
  security_group_id = aws_security_group.peer.id
  type              = "egress"
  protocol          = "tcp"
  from_port         = 0
  to_port           = 1024
  ipv6_cidr_blocks  = ["::/0"]
}

resource "aws_security_group_rule" "s3" {
  security_group_id = aws_security_group.peer.id
  type              = "egress"
  protocol          = "tcp"
  from_port         = 443
  to_port           = 443
  prefix_list_ids   = [data.aws_prefix_list.s3.id]
}

resource "aws_network_interface" "this" {
  subnet_id          = aws_subnet.this["a"].id
  private_ips        = var.changed ? ["10.70.0.40"] : ["10.70.0.40", "10.70.0.41"]
  ipv6_address_count = 1
  security_groups    = [aws_security_group.this.id]
}

resource "aws_network_interface" "bare" {
  subnet_id = aws_subnet.this["b"].id
  lifecycle {
    ignore_changes = [security_groups, ipv6_address_count, ipv6_addresses, ipv6_address_list]
  }
}

resource "aws_network_interface_sg_attachment" "this" {
  network_interface_id = aws_network_interface.bare.id
  security_group_id    = aws_security_group.this.id
}
