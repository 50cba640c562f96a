data "aws_prefix_list" "s3" {
  name = "com.amazonaws.us-east-1.s3"
}

data "aws_ec2_managed_prefix_list" "s3" {
  name = "com.amazonaws.us-east-1.s3"
}

data "aws_ec2_managed_prefix_lists" "mine" {
  filter {
    name   = "prefix-list-name"
    values = [aws_ec2_managed_prefix_list.offices.name]
  }
}

data "aws_vpc_endpoint" "s3" {
  vpc_id       = aws_vpc.this.id
  service_name = aws_vpc_endpoint.s3.service_name
}

data "aws_vpc_endpoint_service" "logs" {
  service      = "logs"
  service_type = "Interface"
}

data "aws_vpc_endpoint_service" "s3" {
  service      = "s3"
  service_type = "Gateway"
}

data "aws_vpc_peering_connection" "this" {
  id = aws_vpc_peering_connection.this.id
}

data "aws_vpc_peering_connections" "this" {
  filter {
    name   = "requester-vpc-info.vpc-id"
    values = [aws_vpc_peering_connection.this.vpc_id]
  }
}

data "aws_vpcs" "this" {
  tags       = { Name = "dual" }
  depends_on = [aws_vpc.this]
}

data "aws_vpc" "default" {
  default    = true
  depends_on = [aws_default_vpc.this]
}

data "aws_security_groups" "this" {
  filter {
    name   = "vpc-id"
    values = [aws_vpc.this.id]
  }
  depends_on = [aws_security_group.this]
}

data "aws_route" "peer" {
  route_table_id         = aws_route_table.peer.id
  destination_cidr_block = aws_route.peer.destination_cidr_block
}

data "aws_route_tables" "this" {
  vpc_id     = aws_vpc.this.id
  depends_on = [aws_route_table.this]
}

data "aws_network_interfaces" "this" {
  filter {
    name   = "subnet-id"
    values = [aws_network_interface.this.subnet_id]
  }
}

data "aws_vpc_dhcp_options" "default" {
  dhcp_options_id = aws_vpc.this.dhcp_options_id
}

data "aws_vpc_security_group_rules" "this" {
  filter {
    name   = "group-id"
    values = [aws_security_group.this.id]
  }
}

data "aws_ec2_network_insights_path" "this" {
  network_insights_path_id = aws_ec2_network_insights_path.this.id
}

data "aws_eips" "this" {
  depends_on = [aws_eip.named]
}

data "aws_nat_gateways" "none" {
  vpc_id = aws_vpc.this.id
}

data "aws_availability_zones" "this" {
  state = "available"
}
