terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

# Nothing here names fogbank: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY in the environment do.
provider "aws" {
  region = var.region

  default_tags {
    tags = { Project = var.name, Release = var.release }
  }
}
